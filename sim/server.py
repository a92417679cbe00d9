"""The simulated world in a process of its own, stepped against the wall clock: `python -m mqe_sim.server --address ipc:///tmp/mqe-sim`.

Rendering holds the interpreter for milliseconds; in its own process it disturbs no control loop. Several clients may connect (the arm node
and the camera node do). Four ZeroMQ sockets on one address: state and frames are published and only the newest is kept, commands are
pushed, everything else is asked for. Times are the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import signal
import struct
import time

import numpy as np
import zmq

from mqe_core.spec import RobotSpec, load_robot_spec
from mqe_sim.arm import ArmState
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH

STATE_HZ = 60.0
_MAX_CATCH_UP_S = 0.25  # after a longer stall the world goes on from where it is instead of rushing
_SILENCE_S = 2.0  # a client that hears nothing for so long reports a dead server
_REPLY_TIMEOUT_MS = 15_000  # building or scoring a scene takes well under a second on an idle machine
_FRAME_HEADER = struct.Struct("<dii")  # stamp, height, width; then the RGB bytes

logger = logging.getLogger(__name__)


class Server:
    """Owns the world and its sockets; `serve` runs until `stop` is called or a signal arrives."""

    def __init__(
        self,
        spec: RobotSpec,
        address: str,
        task: str,
        seed: int,
        width: int,
        height: int,
        camera_hz: float | None = None,
        *,
        end_with_parent: bool = False,
    ) -> None:
        """`camera_hz`: frames per second; as the spec's camera where not given."""
        from mqe_sim.world import World  # here, so that clients of this module do not load PyBullet

        _check_address(address)
        self._spec, self._size, self._camera_period_s = spec, (width, height), 1.0 / (camera_hz or spec.camera.rate_hz)
        self._world = World(spec)
        self._context = zmq.Context()
        self._state = _bind(self._context, zmq.PUB, f"{address}.state")
        self._frames = _bind(self._context, zmq.PUB, f"{address}.frames")
        self._commands = _bind(self._context, zmq.PULL, f"{address}.commands")
        self._requests = _bind(self._context, zmq.REP, f"{address}.requests")
        self._running = True
        self._parent = os.getppid() if end_with_parent else None
        self._commanded_s = 0.0
        self._reset(task, seed)

    def serve(self) -> None:
        """Step, publish and answer until stopped."""
        poller = zmq.Poller()
        poller.register(self._commands, zmq.POLLIN)
        poller.register(self._requests, zmq.POLLIN)
        next_state = next_frame = time.monotonic()
        # A parent that was killed cannot stop its children: without it this process has another parent.
        while self._running and self._parent in (None, os.getppid()):
            poller.poll(max(0.0, 1e3 * (min(next_state, next_frame) - time.monotonic())))
            self._take_commands()
            self._answer()
            now = time.monotonic()
            if now >= next_state:
                self._step_to(now)
                self._publish_state()
                next_state = max(next_state + 1.0 / STATE_HZ, now)
            if now >= next_frame:
                self._publish_frame()
                next_frame = max(next_frame + self._camera_period_s, now)
        self._context.destroy(linger=0)
        self._world.close()

    def stop(self, *_: object) -> None:
        """End `serve` at its next turn; a signal handler."""
        self._running = False

    def _reset(self, task: str, seed: int) -> None:
        from mqe_sim.scene import render_goal
        from mqe_sim.tasks import make_task

        self._goal = render_goal(self._spec, task, seed, *self._size)
        self._task = make_task(task, self._world, seed)
        self._origin_s = time.monotonic() - self._world.time_s
        self._commanded_s = time.monotonic()

    def _wall_time(self, time_s: float) -> float:
        """The world's time on the wall's clock. Its steps are whole, and may be a fraction of one ahead of that."""
        return min(self._origin_s + time_s, time.monotonic())

    def _step_to(self, now: float) -> None:
        behind = now - self._origin_s - self._world.time_s
        if behind > _MAX_CATCH_UP_S:
            self._origin_s += behind - _MAX_CATCH_UP_S
            logger.debug(
                "the simulation fell %.0f ms behind the wall clock and skips them", 1e3 * (behind - _MAX_CATCH_UP_S)
            )
        self._world.advance_to(now - self._origin_s)

    def _take_commands(self) -> None:
        """Apply the newest pending command."""
        newest = None
        while self._commands.poll(0):
            newest = json.loads(self._commands.recv())
        if (
            newest is not None and newest["sent_s"] > self._commanded_s
        ):  # older ones were meant for the scene before a reset
            self._step_to(time.monotonic())
            self._world.arm.command(np.array(newest["joints"]), newest["gripper"])
            self._commanded_s = newest["sent_s"]

    def _publish_state(self) -> None:
        arm = self._world.arm_state()
        state = {
            "stamp": self._wall_time(arm.stamp),
            "joints": arm.joints.tolist(),
            "gripper": arm.gripper,
            "gripper_effort_n": arm.gripper_effort_n,
            "target_joints": arm.target_joints.tolist(),
            "target_gripper": arm.target_gripper,
            "commanded_s": self._commanded_s,
        }
        self._state.send(json.dumps(state).encode())

    def _publish_frame(self) -> None:
        stamp = self._wall_time(self._world.time_s)
        self._frames.send(_pack_frame(stamp, self._world.render(*self._size)))

    def _answer(self) -> None:
        if not self._requests.poll(0):
            return
        message = self._requests.recv()
        try:
            reply = self._handle(dict(json.loads(message)))
        except KeyError as error:
            reply = {"error": f"the request lacks {error}"}
        except (ValueError, TypeError) as error:  # json's errors among them
            reply = {"error": str(error)}
        if isinstance(reply, bytes):
            self._requests.send(reply)
        else:
            self._requests.send(json.dumps(reply).encode())

    def _handle(self, request: dict) -> dict | bytes:
        kind = request["kind"]
        if kind == "info":
            return {
                "task": self._task.name,
                "seed": self._task.seed,
                "max_steps": self._task.max_steps,
                "max_score": self._task.max_score,
            }
        if kind == "goal":
            return _pack_frame(0.0, self._goal)
        if kind == "score":
            self._task.settle()
            self._origin_s = time.monotonic() - self._world.time_s
            return {"score": self._task.score()}
        if kind == "reset":
            self._reset(request["task"], int(request["seed"]))
            return {}
        raise ValueError(f"unknown request {kind!r}")


class Client:
    """A connection to a running server. Waits up to 15 s for it to answer; RuntimeError when it does not."""

    def __init__(self, address: str) -> None:
        _check_address(address)
        self._address = address
        self._context = zmq.Context()
        self._commands = self._context.socket(zmq.PUSH)
        self._commands.connect(f"{address}.commands")
        self._requests = self._connect_requests()
        self._state = _subscribe(self._context, f"{address}.state")
        self._frames = _subscribe(self._context, f"{address}.frames")
        self._arm: ArmState | None = None
        self._commanded_s = 0.0  # when the newest command that the newest state knows of was sent
        self._sent: tuple[float, np.ndarray, float] | None = None  # our newest command: when, joints, gripper
        self._frame: tuple[float, np.ndarray] | None = None
        try:
            self.info()
        except BaseException:
            self.close()
            raise

    def info(self) -> dict:
        """`task`, `seed`, `max_steps` and `max_score` of the scene."""
        return json.loads(self._ask({"kind": "info"}))

    def reset(self, task: str, seed: int) -> None:
        """Set up another scene; ValueError for an unknown task."""
        reply = json.loads(self._ask({"kind": "reset", "task": task, "seed": seed}))
        if "error" in reply:
            raise ValueError(reply["error"])

    def score(self) -> float:
        """Score once everything has come to rest."""
        return float(json.loads(self._ask({"kind": "score"}))["score"])

    def goal(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the solved scene."""
        return _unpack_frame(self._ask({"kind": "goal"}))[1]

    def arm_state(self) -> ArmState:
        """The newest published state (the caller's own copy), with the newest target, even one that the server has yet to take.

        Waits for the first state; RuntimeError when the server has fallen silent.
        """
        while self._state.poll(0 if self._arm is not None else 1e3 * _SILENCE_S):
            fields = json.loads(self._state.recv())
            self._arm = ArmState(
                fields["stamp"], np.array(fields["joints"]), fields["gripper"], fields["gripper_effort_n"],
                np.array(fields["target_joints"]), fields["target_gripper"],
            )  # fmt: skip
            self._commanded_s = fields["commanded_s"]
        if self._arm is None or time.monotonic() - self._arm.stamp > _SILENCE_S:
            raise RuntimeError(
                f"the simulation at {self._address} has not published its state for {_SILENCE_S:.0f} s; is it still running?"
            )
        arm = dataclasses.replace(
            self._arm, joints=self._arm.joints.copy(), target_joints=self._arm.target_joints.copy()
        )
        if self._sent is not None and self._sent[0] > self._commanded_s:
            arm = dataclasses.replace(arm, target_joints=self._sent[1].copy(), target_gripper=self._sent[2])
        return arm

    def frame(self) -> tuple[float, np.ndarray] | None:
        """The newest (stamp, image), or None before the first."""
        while self._frames.poll(0):
            self._frame = _unpack_frame(self._frames.recv())
        return self._frame

    def command(self, joints: np.ndarray, gripper: float) -> None:
        """Set the motors' targets; returns at once."""
        self._sent = (time.monotonic(), np.array(joints, dtype=np.float64), float(gripper))
        message = {"sent_s": self._sent[0], "joints": self._sent[1].tolist(), "gripper": self._sent[2]}
        self._commands.send(json.dumps(message).encode())

    def close(self) -> None:
        self._context.destroy(linger=200)  # lets a last command leave

    def _connect_requests(self) -> zmq.Socket:
        requests = self._context.socket(zmq.REQ)
        requests.connect(f"{self._address}.requests")
        return requests

    def _ask(self, request: dict) -> bytes:
        self._requests.send(json.dumps(request).encode())
        if not self._requests.poll(_REPLY_TIMEOUT_MS):
            self._requests.close(linger=0)  # a REQ socket without its reply can ask no more
            self._requests = self._connect_requests()
            raise RuntimeError(
                f"no simulation answers at {self._address}; start one: python -m mqe_sim.server --address {self._address}"
            )
        return self._requests.recv()


def _check_address(address: str) -> None:
    if not address.startswith("ipc://"):
        raise ValueError(f"the simulation's address must be ipc:///path/of/a/socket on this machine, got {address!r}")


def _bind(context: zmq.Context, kind: int, address: str) -> zmq.Socket:
    socket = context.socket(kind)
    socket.bind(address)
    return socket


def _subscribe(context: zmq.Context, address: str) -> zmq.Socket:
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.CONFLATE, 1)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(address)
    return socket


def _pack_frame(stamp: float, image: np.ndarray) -> bytes:
    return _FRAME_HEADER.pack(stamp, image.shape[0], image.shape[1]) + image.tobytes()


def _unpack_frame(message: bytes) -> tuple[float, np.ndarray]:
    stamp, height, width = _FRAME_HEADER.unpack_from(message)
    return stamp, np.frombuffer(message, np.uint8, offset=_FRAME_HEADER.size).reshape(height, width, 3)


def main(argv: list[str] | None = None) -> int:
    """Command line of the server process."""
    parser = argparse.ArgumentParser(prog="python -m mqe_sim.server", description=__doc__.splitlines()[0])
    parser.add_argument("--address", required=True, help="ipc:///path; four sockets are made beside it")
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="scene (default: %(default)s)")
    parser.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    parser.add_argument("--width", type=int, default=FRAME_WIDTH, help="pixels (default: %(default)s)")
    parser.add_argument("--height", type=int, default=FRAME_HEIGHT, help="pixels (default: %(default)s)")
    parser.add_argument("--camera-hz", type=float, help="frames per second (default: the robot's camera's)")
    parser.add_argument(
        "--end-with-parent", action="store_true", help="end when the process that started this one has ended"
    )
    args = parser.parse_args(argv)
    try:
        server = Server(
            load_robot_spec(args.robot), args.address, args.task, args.seed, args.width, args.height, args.camera_hz,
            end_with_parent=args.end_with_parent,
        )  # fmt: skip
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, server.stop)
    server.serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
