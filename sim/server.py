"""The simulated world in a process of its own, stepped against the wall clock.

    python -m mqe_sim.server --address ipc:///tmp/mqe-sim

Rendering holds the interpreter for milliseconds; in its own process it disturbs no control loop. Several clients may
connect, as the arm node and the camera node do. There are four ZeroMQ sockets on one address: state and frames are
published and only the newest is kept, commands are pushed, everything else is asked for. Times are the machine's
monotonic clock, which all its processes share.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import zmq

from mqe_core.interrupts import hear_interrupts
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.oracles import make_oracle
from mqe_sim.scene import render_goal
from mqe_sim.tasks import make_task
from mqe_sim.wire import SceneInfo, bind, check_address, pack_frame
from mqe_sim.world import World

STATE_HZ = 60.0
_MAX_CATCH_UP_S = 0.25  # after a longer stall the world goes on from where it is instead of rushing

Reply: TypeAlias = Mapping[str, object] | bytes  # to be sent as JSON, or as it is

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
        check_address(address)
        self._spec, self._size, self._camera_period_s = spec, (width, height), 1.0 / (camera_hz or spec.camera.rate_hz)
        self._world = World(spec)
        self._context = zmq.Context()
        self._state = bind(self._context, zmq.PUB, f"{address}.state")
        self._frames = bind(self._context, zmq.PUB, f"{address}.frames")
        self._commands = bind(self._context, zmq.PULL, f"{address}.commands")
        self._requests = bind(self._context, zmq.REP, f"{address}.requests")
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
            poller.poll(max(0, int(1e3 * (min(next_state, next_frame) - time.monotonic()))))
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
        self._goal = render_goal(self._spec, task, seed, *self._size)
        self._task = make_task(task, self._world, seed)
        self._oracle = make_oracle(self._task, np.random.default_rng(seed), noise=0.0, events=False)
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
        # An older one was meant for the scene before a reset.
        if newest is not None and newest["sent_s"] > self._commanded_s:
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
        self._frames.send(pack_frame(stamp, self._world.render(*self._size)))

    def _answer(self) -> None:
        if not self._requests.poll(0):
            return
        message = self._requests.recv()
        reply: Reply
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

    def _handle(self, request: dict[str, Any]) -> Reply:
        kind = request["kind"]
        if kind == "info":
            info: SceneInfo = {
                "task": self._task.name,
                "seed": self._task.seed,
                "max_steps": self._task.max_steps,
                "max_score": self._task.max_score,
                "language": self._task.language,
            }
            return info
        if kind == "oracle":
            return self._ask_oracle()
        if kind == "goal":
            return pack_frame(0.0, self._goal)
        if kind == "score":
            self._task.settle()
            self._origin_s = time.monotonic() - self._world.time_s
            return {"score": self._task.score()}
        if kind == "reset":
            self._reset(request["task"], int(request["seed"]))
            return {}
        raise ValueError(f"unknown request {kind!r}")

    def _ask_oracle(self) -> Reply:
        """What the plain script would do now, from where the arm is and is commanded to be."""
        arm, spec = self._world.arm_state(), self._spec
        action = self._oracle.act(forward_kinematics(spec, arm.target_joints), forward_kinematics(spec, arm.joints))
        solved = self._task.score() >= self._task.max_score
        return {"action": action.tolist(), "done": self._oracle.done, "solved": solved}


def main(argv: list[str] | None = None) -> int:
    """Command line of the server process."""
    parser = argparse.ArgumentParser(prog="python -m mqe_sim.server", description=(__doc__ or "").partition("\n")[0])
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
            load_robot_spec(args.robot),
            args.address,
            args.task,
            args.seed,
            args.width,
            args.height,
            args.camera_hz,
            end_with_parent=args.end_with_parent,
        )
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, server.stop)
    hear_interrupts()
    server.serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
