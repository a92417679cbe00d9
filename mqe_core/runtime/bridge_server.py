"""BridgeServerRobot: an arm behind a running bridge_data_robot WidowX server, by that server's own protocol.

One ZeroMQ request and reply per call, each an LZ4 frame around a pickled dict (bridge_data_robot, widowx_env_service.py, on edgeml). Replies
pass a restricted unpickler; requests carry plain lists and numbers, which every version of the server reads. The server composes each step
on a target of its own, which it does not tell. Initialising it puts the arm at its start pose and the target on the measured one; from there
the same target is kept here, step by step, with the server's own limits. It turns each step about the position that it measures then, which
is only nearly the one observed before: turns of a moving arm let the two targets drift apart, by the turn times the way made in between.
Where a step is not confirmed (no answer, a failure, nonsense), the target is no longer known, and this is the end. It has no hold and no
watchdog; its motors keep their last target.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace

import lz4.frame
import numpy as np
import zmq

from mqe_core import images, safe_pickle
from mqe_core.geometry import action_between, apply_action, part_way, state_to_pose
from mqe_core.kinematics import inverse_kinematics
from mqe_core.runtime.robot import Clock, Command, Frame, MotorHealth, RobotState
from mqe_core.runtime.safety_rules import JOINT_STATE, MOTORS, ROTATION_STEP, TRANSLATION_STEP, UNREACHABLE
from mqe_core.spec import RobotSpec

PORT = 5556
CAMERA_TOPIC = "/blue/image_raw"  # of bridge_data_v2's evaluation
_REPLY_S = 0.8  # the published client's; the server goes on with what it was asked for, whether anybody waits or not
_INIT_S = 30.0  # initialising takes about ten seconds, in which it answers nothing
_REST_S, _REST_M = 0.5, 1e-3  # the start pose is reached where the hand has not moved more than that in that time
_STEP_LIMITS = np.array(
    [0.05] * 3 + [0.25] * 3
)  # what the server clips a step to (bridge_data_robot, robot_base_env.py)
_ROUNDING = 1e-6  # a limit exceeded by less, as a part of it, is rounding
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
    """state (7,) as the server measured it, the camera's JPEG, and when it was asked for and came (s of the clock): it was measured in between."""

    asked: float
    received: float
    state: np.ndarray
    jpeg: bytes


class BridgeServer:
    """The connection; nothing moves before `initialise`. RuntimeError, with the remedy, where nobody or another version answers, or what
    comes is no message of plain values and arrays; ValueError where host and port are no address.
    """

    def __init__(self, host: str, port: int = PORT, *, clock: Clock) -> None:
        self._address = f"tcp://{host}:{port}"
        self._clock = clock
        self._initialised = False
        self._context = zmq.Context()
        self._socket: zmq.Socket | None = None
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

    def step(self, action: np.ndarray) -> None:
        """One step of `action` (7,). RuntimeError where it is not confirmed: it may or may not be carried out; never repeat it."""
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
        """Have the server move its arm to its start pose, and wait until it rests there. RuntimeError where it does not."""
        low, high = (
            [*map(float, corner), side, 0.0]
            for corner, side in ((spec.workspace.low, -1.57), (spec.workspace.high, 1.57))
        )
        parameters = {
            "fix_zangle": 0.1, "move_duration": spec.control.period_s, "adaptive_wait": True, "move_to_rand_start_freq": 1,
            "override_workspace_boundaries": [low, high], "action_clipping": "xyz", "catch_environment_except": False,
            "start_state": [0.3, 0.0, 0.15, 0.0, 0.0, 0.0, 1.0], "skip_move_to_neutral": False, "return_full_image": True,
            "camera_topics": [{"name": camera_topic}],
        }  # fmt: skip
        self._ask({"type": "act", "key": "init", "payload": {"env_params": parameters, "image_size": 256}})
        end, before = self._clock.now() + _INIT_S, None
        while True:
            now = self._observe()
            if now is not None and before is not None and np.abs(now.state[:3] - before.state[:3]).max() < _REST_M:
                self._initialised = True
                return
            if self._clock.now() > end:
                raise RuntimeError(
                    f"the server at {self._address} was asked to initialise its arm and has not within {_INIT_S:.0f} s; see its log"
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
                f"the server at {self._address} sent a state of shape {state.shape} and type {state.dtype}, expected 7 numbers"
            )
        return Observation(asked, self._clock.now(), state.astype(np.float64), answer["full_image"])

    def _ask(self, request: dict) -> dict | None:
        """The reply, or None where none came in time. RuntimeError where it is no message of plain values and arrays."""
        assert self._socket is not None
        self._socket.send(lz4.frame.compress(pickle.dumps(request, protocol=4)))
        if not self._socket.poll(1e3 * _REPLY_S):
            self._connect()  # a REQ socket without its reply can ask no more; what comes late is lost with it
            return None
        try:
            reply = safe_pickle.loads(lz4.frame.decompress(self._socket.recv()))
        except (RuntimeError, EOFError) as error:  # lz4's
            raise RuntimeError(f"the server at {self._address} sent no LZ4 frame: {error}") from error
        except ValueError as error:
            raise RuntimeError(f"the server at {self._address} sent a pickle that is {error}") from error
        if not isinstance(reply, dict):
            raise RuntimeError(f"the server at {self._address} sent {type(reply).__name__}, expected a dict")
        return reply

    def _connect(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = self._context.socket(zmq.REQ)
        self._socket.set(zmq.MAXMSGSIZE, _MAX_REPLY_BYTES)
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise ValueError(
                f"{self._address} is no address ({error.strerror}); give a host's name or number, and a port"
            ) from error


class BridgeServerRobot:
    """The arm behind the initialised server, on that one's clock. Its joints are those that reach the measured pose: the server does not
    tell them.
    """

    def __init__(self, spec: RobotSpec, *, server: BridgeServer) -> None:
        self._spec, self._server = spec, server
        self._target: np.ndarray | None = None
        self._lost: str | None = None  # why the target is not known any more
        self._target_gripper = 1.0

    def observe(self) -> RobotState:
        """RuntimeError where the server does not answer, has not confirmed a step, or tells a pose that the arm cannot have."""
        if self._lost is not None:
            raise RuntimeError(
                f"{self._lost}; its target is not known any more: start again (the arm moves to its start pose)"
            )
        observation = self._server.observation()
        pose = state_to_pose(observation.state)
        joints = (
            inverse_kinematics(self._spec, pose, self._spec.neutral_joints)
            if np.isfinite(observation.state).all()
            else None
        )
        if joints is None:
            raise RuntimeError(f"the server tells a state that the arm cannot have: {observation.state.tolist()}")
        if self._target is None:
            self._target, self._target_gripper = pose.copy(), min(max(float(observation.state[6]), 0.0), 1.0)
        return RobotState(
            stamp=observation.asked,
            joints=joints,
            gripper=float(observation.state[6]),
            pose=pose,
            target_pose=self._target.copy(),
            target_gripper=self._target_gripper,
            health=MotorHealth(ok=True),
        )

    def send(self, command: Command) -> Command:
        """One step towards the command, as far as the server goes in one; returns the target that the server has now. Refused where the arm
        cannot be observed (joint_state) and where the server does not confirm the step (motors), which may be carried out nevertheless.
        ValueError where the command has no joints.
        """
        if command.joints is None:
            raise ValueError(
                "a command without joints reached the backend; send it through SafeRobot, which solves for them"
            )
        try:
            state = self.observe()  # a newer one where judging the command took long
        except RuntimeError as error:
            return replace(command, joints=None, clipped=(), refused=JOINT_STATE, detail=str(error))
        command, motion = self._shortened(command, state)
        if command.refused is not None:
            return command
        self._lost = "the wait for the answer to a step was interrupted"  # unless it ends in one of these ways
        try:
            self._server.step(np.append(motion, command.gripper))
        except Exception as error:  # whatever it is, the step may have been done
            self._lost = str(error)
            return replace(command, refused=MOTORS, detail=f"{error}; it may still be carried out")
        self._lost = None
        self._target, self._target_gripper = apply_action(state.target_pose, motion, state.pose), float(command.gripper)
        return replace(command, pose=self._target.copy())

    def _shortened(self, command: Command, state: RobotState) -> tuple[Command, np.ndarray]:
        """The command, or one part of the way to it, and the motion (6,) that makes the server go there.

        The server clips each number of a motion by itself, which would lead off the way that the filter has checked; and as its turn is
        about the measured position, what makes up for an arm that lags behind is in the motion, too.
        """
        fraction, rule, pose = 1.0, None, command.pose
        while True:
            motion = action_between(state.target_pose, pose, state.pose)
            excess = np.abs(motion) / _STEP_LIMITS
            if excess.max() <= 1.0 + _ROUNDING:
                break
            rule = rule or (TRANSLATION_STEP if excess.argmax() < 3 else ROTATION_STEP)
            fraction *= 0.98 / float(excess.max())
            pose = part_way(state.target_pose, command.pose, fraction, fraction)
        motion = np.clip(motion, -_STEP_LIMITS, _STEP_LIMITS)
        if rule is None:
            return command, motion
        detail = "; ".join(
            filter(None, [command.detail, f"the server goes {100 * fraction:.0f} % of that way in one step"])
        )
        joints = inverse_kinematics(self._spec, pose, command.joints)
        if joints is None:
            return replace(
                command, joints=None, refused=UNREACHABLE, detail=f"{detail}, and no joints reach that"
            ), motion
        return replace(
            command, pose=pose, joints=joints, clipped=tuple(dict.fromkeys((*command.clipped, rule))), detail=detail
        ), motion

    def hold(self) -> None:
        """Nothing to send: the server's motors keep their target by themselves."""

    def close(self) -> None:
        """The connection belongs to who made it."""


class BridgeServerCamera:
    """The server's first camera, at its full size."""

    def __init__(self, server: BridgeServer) -> None:
        self._server = server

    def read(self) -> Frame | None:
        """The picture of the server's newest observation, as old as that one's request. RuntimeError where the server does not answer, or
        sends what is no picture.
        """
        observation = self._server.observation()
        try:
            image = images.decode(observation.jpeg)
        except ValueError as error:
            raise RuntimeError(f"the server's camera: {error}") from error
        # An RGB array that was encoded as if it were BGR: an ordinary decoder finds red and blue exchanged.
        return Frame(observation.asked, np.ascontiguousarray(image[:, :, ::-1]), "real")

    def close(self) -> None:
        """The connection belongs to who made it."""
