"""What the simulation's server and its clients say to each other: sockets beside one address, and frames as bytes."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypedDict

import numpy as np
import zmq

from mqe_core.robot.arrays import Floats, Images

_FRAME_HEADER = struct.Struct("<dii")  # stamp, height, width; then the RGB bytes


class SceneInfo(TypedDict):
    """What the server says of its scene."""

    task: str
    seed: int
    max_steps: int
    max_score: float
    language: str


class OracleStep(NamedTuple):
    """What the script would do now: a Bridge action (7,). `solved`: the task's full score stands at this instant;
    `done`: and the hand is where the script ends.
    """

    action: Floats
    solved: bool
    done: bool


def check_address(address: str) -> None:
    """ValueError unless the address is a socket of this machine."""
    if not address.startswith("ipc://"):
        raise ValueError(f"the simulation's address must be ipc:///path/of/a/socket on this machine, got {address!r}")


def bind(context: zmq.Context[Any], kind: int, address: str) -> zmq.Socket[bytes]:
    """A socket of `kind` that others connect to."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.bind(address)
    return socket


def subscribe(context: zmq.Context[Any], address: str) -> zmq.Socket[bytes]:
    """A subscription that keeps the newest message only."""
    socket: zmq.Socket[bytes] = context.socket(zmq.SUB)
    socket.setsockopt(zmq.CONFLATE, 1)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    return socket


def pack_frame(stamp: float, image: Images) -> bytes:
    """A frame as one message: when it was taken, and (H, W, 3) uint8 RGB."""
    return _FRAME_HEADER.pack(stamp, image.shape[0], image.shape[1]) + image.tobytes()


def unpack_frame(message: bytes) -> tuple[float, Images]:
    """The inverse of `pack_frame`."""
    stamp: float
    stamp, height, width = _FRAME_HEADER.unpack_from(message)
    return stamp, np.frombuffer(message, np.uint8, offset=_FRAME_HEADER.size).reshape(height, width, 3)
