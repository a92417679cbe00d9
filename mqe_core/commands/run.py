"""Drive an arm to a goal image, without ROS: the simulated one, the mock, or a bridge_data_robot server's.

mqe run --backend sim --policy FILE --seed 7              scene 7 of place1, against the wall clock
mqe run --backend sim --policy FILE --goal place.png      the scene that the goal's YAML names
mqe run --backend mock --policy FILE --episodes STORE     recorded frames, an arm of arithmetic
mqe run --backend mock --policy FILE --goal place.png     the same; the camera shows the goal itself
mqe run --backend bridge-server --host ROBOT --policy FILE --goal cup.png    a real arm behind bridge_data_robot's server
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    import numpy as np

    from mqe_core.goals import Goal
    from mqe_core.runtime.control_loop import ControlLoop, StepResult
    from mqe_core.runtime.recorder import RunRecorder
    from mqe_core.runtime.robot import Camera, Clock, Robot
    from mqe_core.runtime.safe_robot import SafeRobot
    from mqe_core.spec import RobotSpec


_BRIDGE_SECONDS = 24.0  # 120 steps, BridgeData V2's evaluation
_STILL_SECONDS = 10.0  # how long the mock runs on a still picture unless told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe run`."""
    parser.add_argument(
        "--backend", choices=("sim", "mock", "bridge-server"), default="sim", help="what moves (default: %(default)s)"
    )
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True, help="the .onnx file")
    parser.add_argument(
        "--goal",
        help="goal image with its YAML: a path, or a name in ~/.mqe/goals (default: the scene's, episode's)",
    )
    parser.add_argument(
        "--seconds", type=float, help="how long (default: the task's length, or the episode's)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write frames, a table of steps and a summary to this new folder",
    )
    parser.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=1, help="cores for one inference (default: %(default)s)"
    )
    sim = parser.add_argument_group("sim")
    sim.add_argument("--task", help="task of the scene (default: the goal's, else place1)")
    sim.add_argument("--seed", type=int, help="the scene (default: the goal's, else 0)")
    mock = parser.add_argument_group("mock")
    mock.add_argument(
        "--episodes", metavar="STORE", type=Path, help="episode store whose frames the camera shows"
    )
    mock.add_argument("--episode", type=int, default=0, help="which of its episodes (default: %(default)s)")
    mock.add_argument(
        "--domain", choices=("sim", "real"), help="what those frames show (default: what the store states)"
    )


    bridge = parser.add_argument_group("bridge-server")
    bridge.add_argument("--host", help="where the server runs")
    bridge.add_argument("--port", type=int, default=5556, help="its port (default: %(default)s)")
    bridge.add_argument("--camera-topic", default="/blue/image_raw", help="the camera it is initialised with (default: %(default)s)")
    bridge.add_argument("--table-height", type=float, metavar="M", help="as in the launch (default: table_height_m in ~/.mqe/config.yaml)")


@dataclass
class _Rig:
    """What the loop drives, whichever backend it came from."""

    name: str
    robot: Robot
    camera: Camera
    clock: Clock
    goal: np.ndarray
    goal_domain: str
    camera_domain: str
    steps: int
    score: Callable[[], tuple[float, float]] | None  # (score, highest score), where the backend can judge
    close: Callable[[], None]


def run(args: argparse.Namespace) -> int:
    """Run `mqe run`."""
    from mqe_core.bundle import PolicyBundle
    from mqe_core.goals import check_camera, find_goal, read_goal
    from mqe_core.runtime.control_loop import ControlLoop
    from mqe_core.runtime.policy import OnnxPolicy
    from mqe_core.runtime.policy_side import PolicySide
    from mqe_core.runtime.recorder import RunRecorder
    from mqe_core.runtime.robot import check_domain
    from mqe_core.runtime.safe_robot import SafeRobot
    from mqe_core.spec import load_robot_spec, with_table_height
    from mqe_core.user_files import goal_folders, measured_table_height

    spec = load_robot_spec(args.robot)
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"--seconds must be greater than 0, got {args.seconds}")
    policy = OnnxPolicy(PolicyBundle.open(args.policy, spec, threads=args.threads))
    goal = read_goal(find_goal(args.goal, goal_folders())) if args.goal is not None else None
    if goal is not None:
        check_domain(policy.domain, goal.domain, f"the goal {goal.path}")
        check_camera(goal, spec.camera.name)
    if args.backend == "bridge-server":
        spec = with_table_height(spec, measured_table_height(args.table_height))
    elif args.host is not None or args.table_height is not None:
        raise ValueError("--host and --table-height belong to --backend bridge-server")
    rig = {"sim": _sim, "mock": _mock, "bridge-server": _bridge_server}[args.backend](args, spec, goal)
    recorder = None
    try:
        check_domain(policy.domain, rig.camera_domain, f"the camera of the backend {args.backend}")
        if args.out is not None:
            recorder = RunRecorder(args.out, rig.goal)
        robot = rig.robot if isinstance(rig.robot, SafeRobot) else SafeRobot(rig.robot, spec, rig.clock)
        side = PolicySide(policy, spec, rig.clock, gripper=policy.gripper_rule())
        side.set_goal(rig.goal, rig.goal_domain)
        loop = ControlLoop(robot, rig.camera, side, rig.clock, spec.control.control_hz)
        steps = rig.steps if args.seconds is None else max(1, round(args.seconds * spec.control.control_hz))
        report = _Report(spec, loop, robot, recorder)
        loop.run(steps, report.note)
        score = rig.score() if rig.score is not None else None
        summary = report.summary(rig.name, score)
        print(_one_line(summary), flush=True)
        if recorder is not None:
            recorder.close(summary)
            recorder = None
    finally:
        if recorder is not None:  # ended by Ctrl-C or an error: the table stays, without a summary
            recorder.close(None)
        rig.close()
    return 0


def _sim(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> _Rig:
    from mqe_core.runtime.robot import make_scene

    if args.episodes is not None or args.domain is not None:
        raise ValueError("--episodes and --domain belong to --backend mock; the sim draws its own frames")
    task, seed = args.task, args.seed
    if goal is not None:
        for name, asked, shown in (("task", task, goal.task), ("seed", seed, goal.seed)):
            if shown is None:
                raise ValueError(
                    f"{goal.path} does not say which simulated scene it shows; make one with `mqe sim goal`"
                )
            if asked is not None and asked != shown:
                raise ValueError(
                    f"{goal.path} shows the scene with {name} {shown}, not {asked}; leave out --{name}"
                )
        task, seed = goal.task, goal.seed
    task, seed = task or "place1", 0 if seed is None else seed
    scene = make_scene("sim", spec, task, seed, realtime=True)
    return _Rig(
        name=f"{task} seed {seed}",
        robot=scene.robot,
        camera=scene.camera,
        clock=scene.clock,
        goal=scene.goal if goal is None else goal.image,
        goal_domain="sim",
        camera_domain="sim",
        steps=scene.max_steps,
        score=lambda: (float(scene.score()), float(scene.max_score)),
        close=scene.close,
    )


def _bridge_server(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> _Rig:
    from mqe_core.runtime.bridge_server import BridgeServer, BridgeServerCamera, BridgeServerRobot
    from mqe_core.runtime.robot import MonotonicClock
    from mqe_core.runtime.safe_robot import SafeRobot

    if args.task is not None or args.seed is not None or args.episodes is not None or args.domain is not None:
        raise ValueError("--task, --seed, --episodes and --domain belong to the other backends")
    if args.host is None or goal is None:
        raise ValueError("--backend bridge-server needs --host, where the server runs, and --goal, an image of the real scene")
    clock = MonotonicClock()
    server = BridgeServer(args.host, args.port, spec=spec, camera_topic=args.camera_topic)
    return _Rig(
        name=f"bridge_data_robot server at {args.host}:{args.port}",
        robot=SafeRobot(BridgeServerRobot(spec, clock=clock, server=server), spec, clock),
        camera=BridgeServerCamera(server),
        clock=clock,
        goal=goal.image,
        goal_domain=goal.domain,
        camera_domain="real",
        steps=round(_BRIDGE_SECONDS * spec.control.control_hz),
        score=None,
        close=server.close,
    )


def _mock(args: argparse.Namespace, spec: RobotSpec, goal: Goal | None) -> _Rig:
    from mqe_core.replay import episode_frames, store_domain
    from mqe_core.runtime.loopback import ReplayCamera
    from mqe_core.runtime.robot import MonotonicClock, make_robot

    if args.task is not None or args.seed is not None:
        raise ValueError("--task and --seed belong to --backend sim; the mock has no scene")
    if args.episodes is not None:
        name, frames, domain = (
            f"mock, episode {args.episode}",
            episode_frames(args.episodes, args.episode),
            store_domain(args.episodes),
        )
        steps = len(frames)
    elif goal is not None:
        # The lowest bit flickers, as a camera's does: a picture that stays the same to the last bit is a frozen camera's.
        name, frames, domain = f"mock, still picture of {goal.name}", [goal.image, goal.image ^ 1], goal.domain
        steps = round(_STILL_SECONDS * spec.control.control_hz)
    else:
        raise ValueError(
            "--backend mock needs something to show: --episodes STORE (made by `mqe data import`), or "
            "--goal for a still picture"
        )
    domain = args.domain or domain
    clock = MonotonicClock()
    robot = make_robot("mock", spec, clock=clock)
    camera = ReplayCamera(spec, clock=clock, frames=frames, domain=domain)

    def close() -> None:
        camera.close()
        robot.close()

    return _Rig(
        name=name,
        robot=robot,
        camera=camera,
        clock=clock,
        goal=frames[-1] if goal is None else goal.image,
        goal_domain=domain if goal is None else goal.domain,
        camera_domain=domain,
        steps=steps,
        score=None,
        close=close,
    )


class _Report:
    """Counts the steps, prints a status line per second, and sums up."""

    def __init__(
        self, spec: RobotSpec, loop: ControlLoop, robot: SafeRobot, recorder: RunRecorder | None
    ) -> None:
        self._spec, self._loop, self._robot, self._recorder = spec, loop, robot, recorder
        self._per_second = max(1, round(spec.control.control_hz))
        self._results: list[
            tuple[float, float, float, float | None]
        ] = []  # began, late, policy latency (s), steps to goal
        self._held: dict[str, int] = {}

    def note(self, result: StepResult) -> None:
        """One step of the loop."""
        if self._recorder is not None:
            self._recorder.add(result)
        if result.held is not None:
            self._held[result.held] = self._held.get(result.held, 0) + 1
        # Only the numbers are kept: frames of an hour would not fit in memory.
        output = result.decision.output
        distance = None if output is None else output.steps_to_goal
        self._results.append(
            (result.deadline + result.late_s, result.late_s, result.decision.latency_s, distance)
        )
        if len(self._results) % self._per_second == 0:
            x, y, z = 1000.0 * result.state.pose[:3, 3]
            seconds = len(self._results) / self._spec.control.control_hz
            steps_to_goal = self._results[-1][3]
            distance = "" if steps_to_goal is None else f"  {steps_to_goal:6.1f} steps to goal"
            state = (
                f"held: {result.held}"
                if result.held is not None
                else f"clipped: {', '.join(result.command.clipped) or 'nothing'}"
            )
            print(
                f"{seconds:6.1f} s{distance}  at ({x:4.0f}, {y:4.0f}, {z:4.0f}) mm  gripper "
                f"{result.state.gripper:.2f}  {state}",
                flush=True,
            )

    def summary(self, name: str, score: tuple[float, float] | None) -> dict[str, object]:
        """What happened, for people and for summary.json."""
        import numpy as np

        from mqe_core.runtime.safety_rules import CLIP_RULES

        began, late, latency, distance = zip(*self._results)
        seconds = began[-1] - began[0]
        return {
            "name": name,
            "steps": len(self._results),
            "mean_hz": (len(began) - 1) / seconds if seconds > 0 else None,
            "deadline_misses": self._loop.deadline_misses,
            "late_ms_p99": float(1e3 * np.percentile(late, 99)),
            "policy_ms_p50": float(1e3 * np.percentile(latency, 50)),
            "policy_ms_p99": float(1e3 * np.percentile(latency, 99)),
            "first_steps_to_goal": next((d for d in distance if d is not None), None),
            "last_steps_to_goal": next((d for d in reversed(distance) if d is not None), None),
            "held": self._held,
            "clipped": {rule: self._robot.counts[rule] for rule in CLIP_RULES if self._robot.counts[rule]},
            "score": None if score is None else score[0],
            "max_score": None if score is None else score[1],
        }


def _one_line(summary: dict) -> str:
    parts = [f"{summary['name']}: {summary['steps']} steps"]
    if summary["mean_hz"] is not None:
        parts[0] += f" at {summary['mean_hz']:.2f} Hz"
    if summary["score"] is not None:
        parts.append(f"score {summary['score']:g} of {summary['max_score']:g}")
    if summary["last_steps_to_goal"] is not None:
        parts.append(
            f"steps to goal {summary['first_steps_to_goal']:.1f} -> {summary['last_steps_to_goal']:.1f}"
        )
    parts.append(f"policy {summary['policy_ms_p50']:.1f} ms (p99 {summary['policy_ms_p99']:.1f})")
    parts.append(f"{summary['deadline_misses']} deadline misses")
    for what in ("clipped", "held"):
        if summary[what]:
            parts.append(
                f"{what}: " + ", ".join(f"{name} {count}" for name, count in sorted(summary[what].items()))
            )
    return "; ".join(parts)
