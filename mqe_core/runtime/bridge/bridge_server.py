"""BridgeServer: the connection to a running bridge_data_robot WidowX server, by that server's own protocol.

Each call is one ZeroMQ request and its reply. Both are an LZ4 frame around a pickled dict (bridge_data_robot,
widowx_env_service.py, on edgeml). Replies pass a restricted unpickler. Requests carry plain lists and numbers, which
every version of the server reads. `bridge_robot.py` makes a robot and a camera of the connection.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import Any

import lz4.frame
import numpy as np
import zmq

from mqe_core import safe_pickle
from mqe_core.robot.arrays import Floats
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.addresses import parse_address
from mqe_core.runtime.aside import Aside
from mqe_core.runtime.robot import Clock

PORT = 5556
CAMERA_TOPIC = "/blue/image_raw"  # of bridge_data_v2's evaluation
_REPLY_S = 0.8  # the published client's; the server goes on with what it was asked for, whether anybody waits or not
_INIT_S = 30.0  # initialising takes about ten seconds, in which it answers nothing
_REST_S, _REST_M = 0.5, 1e-3  # the start pose is reached where the hand has not moved more than that in that time
_SUCCESS = 1
_OBSERVED_S = 0.05  # an observation so fresh serves robot and camera alike: each costs the server some 80 ms
_MAX_REPLY_BYTES = 64 * 1024 * 1024


def handshake(port: int) -> str:
    """What client and server compare, byte for byte."""
    config = {
        "port_number": port,
        "action_keys": ["init", "move", "gripper", "reset", "step_action", "reboot_motor"],
        "observation_keys": ["image", "state", "full_image"],
        "broadcast_port": port + 1,
        "version": "0.0.1",
    }
    return json.dumps(config, separators=(",", ":"))


@dataclass(frozen=True, eq=False)
class Observation:
    """One look at the arm; it was measured between `asked` and `received`.

    Attributes:
        asked: when it was asked for, monotonic s.
        received: when it came.
        state: (7,) as the server measured it: position m, roll, pitch, yaw rad, gripper.
        jpeg: the picture of the server's first camera.
    """

    asked: float
    received: float
    state: Floats
    jpeg: bytes


class BridgeServer:
    """The connection; nothing moves before `initialise`.

    RuntimeError, with the remedy, where nobody or another version answers, or where what comes is no message of plain
    values and arrays. ValueError where host and port are no address.
    """

    def __init__(self, host: str, port: int = PORT, *, clock: Clock) -> None:
        self._where = parse_address(host, port)
        self._address = self._where.text
        self._clock = clock
        self._initialised = False
        self._aside = Aside(_REPLY_S, most_left=1)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._newest: Observation | None = None
        try:
            self._connect()
            answer = self._ask({"type": "hash"})
            if answer is None:
                raise RuntimeError(
                    f"no bridge_data_robot server answers at {self._address}; is it running, and the port open?"
                )
            if answer.get("payload") != handshake(port):
                raise RuntimeError(
                    f"the server at {self._address} speaks another version: {str(answer.get('payload'))[:300]!r}"
                )
        except BaseException:
            self.close()
            raise

    def observation(self) -> Observation:
        """A new one, or one that came a moment ago. RuntimeError where the server does not answer."""
        assert self._initialised, (
            "before it is initialised the server has no arm, or one with a target of somebody else's"
        )
        if self._newest is None or self._clock.now() - self._newest.received > _OBSERVED_S:
            self._newest = self._observe()
        if self._newest is None:
            raise RuntimeError(f"the server at {self._address} gives no observation within {_REPLY_S} s")
        return self._newest

    def step(self, action: Floats) -> None:
        """One step of `action` (7,). RuntimeError where it is not confirmed: it may or may not be carried out; never
        repeat it.
        """
        assert self._initialised
        self._newest = None
        payload = {"action": [float(value) for value in action], "blocking": False}
        answer = self._ask({"type": "act", "key": "step_action", "payload": payload})
        if answer is None:
            raise RuntimeError(f"the server at {self._address} did not answer a step within {_REPLY_S} s")
        if answer.get("status") != _SUCCESS:
            raise RuntimeError(f"the server at {self._address} says that a step failed: {str(answer)[:300]}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._context.term()

    def initialise(self, spec: RobotSpec, camera_topic: str = CAMERA_TOPIC) -> None:
        """Have the server move its arm to its start pose, and wait until it rests there. RuntimeError where it does
        not.
        """
        low, high = (
            [*map(float, corner), side, 0.0]
            for corner, side in ((spec.workspace.low_m, -1.57), (spec.workspace.high_m, 1.57))
        )
        parameters = {
            "fix_zangle": 0.1,
            "move_duration": spec.control.period_s,
            "adaptive_wait": True,
            "move_to_rand_start_freq": 1,
            "override_workspace_boundaries": [low, high],
            "action_clipping": "xyz",
            "catch_environment_except": False,
            "start_state": [0.3, 0.0, 0.15, 0.0, 0.0, 0.0, 1.0],
            "skip_move_to_neutral": False,
            "return_full_image": True,
            "camera_topics": [{"name": camera_topic}],
        }
        self._ask({"type": "act", "key": "init", "payload": {"env_params": parameters, "image_size": 256}})
        end, before = self._clock.now() + _INIT_S, None
        while True:
            now = self._observe()
            if now is not None and before is not None and np.abs(now.state[:3] - before.state[:3]).max() < _REST_M:
                self._initialised = True
                return
            if self._clock.now() > end:
                raise RuntimeError(
                    f"the server at {self._address} was asked to initialise its arm and has not within "
                    f"{_INIT_S:.0f} s; see its log"
                )
            before = now
            self._clock.sleep_until(self._clock.now() + _REST_S)

    def _observe(self) -> Observation | None:
        """None where no answer came, or the server has no arm yet."""
        asked = self._clock.now()
        answer = self._ask({"type": "obs", "keys": ["image", "state", "full_image"]})
        if (
            answer is None
            or not isinstance(answer.get("state"), np.ndarray)
            or not isinstance(answer.get("full_image"), bytes)
        ):
            return None
        state = answer["state"]
        if state.shape != (7,) or state.dtype.kind not in "fiu":
            raise RuntimeError(
                f"the server at {self._address} sent a state of shape {state.shape} and type {state.dtype}, "
                "expected 7 numbers"
            )
        return Observation(asked, self._clock.now(), state.astype(np.float64), answer["full_image"])

    def _ask(self, request: dict[str, object]) -> dict[str, Any] | None:
        """The reply, or None where none came in time. RuntimeError where it is no message of plain values and
        arrays.
        """
        assert self._socket is not None
        self._socket.send(lz4.frame.compress(pickle.dumps(request, protocol=4)))
        if not self._socket.poll(int(1e3 * _REPLY_S)):
            self._connect()  # a REQ socket without its reply can ask no more; what comes late is lost with it
            return None
        reply = self._unpacked(self._socket.recv())
        if not isinstance(reply, dict):
            raise RuntimeError(f"the server at {self._address} sent {type(reply).__name__}, expected a dict")
        return reply

    def _unpacked(self, frame: bytes) -> object:
        try:
            return self._aside.wait_for(lambda: safe_pickle.loads(_decompressed(frame)))
        except TimeoutError as error:
            raise RuntimeError(
                f"the server at {self._address} sent what takes more than {_REPLY_S} s to unpack"
            ) from error
        except (RuntimeError, EOFError) as error:  # lz4's
            raise RuntimeError(f"the server at {self._address} sent no LZ4 frame: {error}") from error
        except ValueError as error:
            raise RuntimeError(f"the server at {self._address} sent a pickle that is {error}") from error

    def _connect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = self._context.socket(zmq.REQ)
        self._socket.set(zmq.MAXMSGSIZE, _MAX_REPLY_BYTES)
        self._where.prepare(self._socket)
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise ValueError(
                f"{self._address} is no address ({error.strerror}); give a host's name or number, and a port"
            ) from error


def _decompressed(frame: bytes) -> bytes:
    """A small frame may stand for gigabytes: RuntimeError, before they are made, where it does."""
    decompressor = lz4.frame.LZ4FrameDecompressor()
    content: bytes = decompressor.decompress(frame, max_length=_MAX_REPLY_BYTES)
    if not decompressor.eof:
        raise RuntimeError(f"it is cut short, or holds more than {_MAX_REPLY_BYTES} bytes")
    return content
