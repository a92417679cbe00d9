"""Messages between a remote policy and its server: one msgpack map per message, with raw arrays, never a pickle.

Every message has exactly the fields of its kind, of exactly these types; anything else is a WireError. Images
travel as the bytes of (S, S, 3) uint8 RGB, S being the policy's image size, resized by the sender.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
import zmq

VERSION = 1
MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # two images of 1024 px and some; the socket refuses what is larger
_MAX_ENTRIES = 1024  # of a map or list in a message
_MAX_CONTAINERS = 100  # maps and lists in a message; a welcome has some ten
_HEARTBEAT_MS, _DEAD_PEER_MS = 500, 1500

_ACTION = {"id": int, "action": bytes, "steps_to_goal": float, "fingerprint": str}
# client → server: hello, act, choose. server → client: welcome, action, choice, error.
_KINDS: dict[str, dict[str, type]] = {
    "hello": {"id": int},
    "welcome": {"id": int, "contract": dict, "fingerprint": str},
    "act": {"id": int, "observation": bytes, "goal": bytes},
    # action: 7 little-endian float32. steps_to_goal: NaN without a critic. fingerprint: of the policy that answered.
    "action": _ACTION,
    # Of a policy that chooses. last: the candidate chosen before, -1 for none. Of N candidates 7 N and N float32.
    "choose": {"id": int, "observation": bytes, "goal": bytes, "last": int},
    "choice": {**_ACTION, "chosen": int, "candidates": bytes, "distances": bytes},
    "error": {"id": int, "text": str},
}


class WireError(ValueError):
    """Bytes that are no message of this protocol."""


def prepare(socket: zmq.Socket[bytes]) -> None:
    """What both ends need: bounded messages, and to notice soon that the other one is gone, even by a power cut."""
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.set(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.set(zmq.HEARTBEAT_TIMEOUT, _DEAD_PEER_MS)


def pack(kind: str, **fields: object) -> bytes:
    """One message. The fields must be those of its kind."""
    assert set(fields) == set(_KINDS[kind]), (kind, sorted(fields))
    message: bytes = msgpack.packb({"version": VERSION, "kind": kind, **fields})
    return message


def unpack(data: bytes, *allowed: str) -> tuple[str, dict[str, Any]]:
    """(kind, fields) of a message of one of the allowed kinds; WireError for anything else."""
    containers = itertools.count(1)

    def counted(container: Any) -> Any:
        if next(containers) > _MAX_CONTAINERS:
            raise OverflowError  # told in one word, as all that msgpack raises
        return container

    try:
        message = msgpack.unpackb(
            data,
            object_hook=counted,
            list_hook=counted,
            max_str_len=65536,
            max_bin_len=MAX_MESSAGE_BYTES,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises ValueError, its own classes, RecursionError, UnicodeDecodeError …
        raise WireError(f"no msgpack message: {type(error).__name__}") from error
    if not isinstance(message, dict) or message.get("version") != VERSION:
        raise WireError(f"no message of version {VERSION}")
    kind = message.get("kind")
    if not isinstance(kind, str) or kind not in allowed:
        raise WireError(f"expected one of {', '.join(allowed)}, got {str(kind)[:40]!r}")
    fields = {key: value for key, value in message.items() if key not in ("version", "kind")}
    expected = _KINDS[kind]
    if set(fields) != set(expected) or any(type(fields[key]) is not expected[key] for key in expected):
        raise WireError(
            f"a message {kind} has the fields "
            f"{', '.join(f'{key} ({value.__name__})' for key, value in expected.items())}"
        )
    return kind, fields
