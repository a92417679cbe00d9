"""Drive an arm to a goal image, without ROS: the simulated one, the mock, or a bridge_data_robot server's.

mqe run --backend sim --policy FILE --seed 7              scene 7 of place1, against the wall clock
mqe run --backend sim --policy FILE --goal place.png      the scene that the goal's YAML names
mqe run --backend mock --policy FILE --episodes STORE     recorded frames, an arm of arithmetic
mqe run --backend mock --policy FILE --goal place.png     the same; the camera shows the goal itself
mqe run --backend bridge-server --host ROBOT --policy FILE --goal cup.png    a real arm behind bridge_data_robot's
server

A goal that the policy refuses as unreachable ends the run, with exit code 1.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from mqe_core.policy.domain import DOMAINS


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
    parser.add_argument("--seconds", type=float, help="how long (default: the task's length, or the episode's)")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write frames, a table of steps and a summary to this new folder",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="pursue the goal also where the policy would refuse it as unreachable"
    )
    parser.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="cores for one inference (default: %(default)s)")
    sim = parser.add_argument_group("sim")
    sim.add_argument("--task", help="task of the scene (default: the goal's, else place1)")
    sim.add_argument("--seed", type=int, help="the scene (default: the goal's, else 0)")
    mock = parser.add_argument_group("mock")
    mock.add_argument("--episodes", metavar="STORE", type=Path, help="episode store whose frames the camera shows")
    mock.add_argument("--episode", type=int, help="which of its episodes (default: 0)")
    mock.add_argument("--domain", choices=DOMAINS, help="what those frames show (default: what the store states)")
    bridge = parser.add_argument_group("bridge-server")
    bridge.add_argument("--host", help="where the server runs: HOST, HOST:PORT, or [IPv6]:PORT")
    bridge.add_argument("--port", type=int, help="its port (default: 5556)")
    bridge.add_argument("--camera-topic", help="the camera it is initialised with (default: /blue/image_raw)")
    bridge.add_argument(
        "--table-height",
        type=float,
        metavar="M",
        help="as in the launch (default: table_height_m in ~/.mqe/config.yaml)",
    )


def run(args: argparse.Namespace) -> int:
    """Run `mqe run`."""
    import dataclasses

    from mqe_core.closed_loop.rigs import RIGS, check_arguments
    from mqe_core.closed_loop.run_report import RunReport
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.policy.domain import check_domain
    from mqe_core.policy.goals import check_camera, find_goal, read_goal
    from mqe_core.robot.spec import load_robot_spec, with_table_height
    from mqe_core.runtime.control_loop import ControlLoop
    from mqe_core.runtime.onnx_policy import OnnxPolicy
    from mqe_core.runtime.policy_side import PolicySide
    from mqe_core.runtime.recorder import RunRecorder
    from mqe_core.runtime.safety.safe_robot import SafeRobot
    from mqe_core.user_files import goal_folders, measured_table_height

    check_arguments(args)
    if args.seconds is not None and not (math.isfinite(args.seconds) and args.seconds > 0):
        raise ValueError(f"--seconds must be a number greater than 0, got {args.seconds}")
    spec = load_robot_spec(args.robot)
    policy = OnnxPolicy(PolicyBundle.open(args.policy, spec, threads=args.threads))
    goal = read_goal(find_goal(args.goal, goal_folders())) if args.goal is not None else None
    if goal is not None:
        check_domain(policy.domain, goal.domain, f"the goal {goal.path}")
        check_camera(goal, spec.camera.name)
    if args.backend == "bridge-server":
        spec = with_table_height(spec, measured_table_height(args.table_height))
    rig = RIGS[args.backend](args, spec, goal)
    recorder = None
    try:
        check_domain(policy.domain, rig.camera_domain, f"the camera of the backend {args.backend}")
        robot = rig.robot if isinstance(rig.robot, SafeRobot) else SafeRobot(rig.robot, spec, rig.clock)
        limit = policy.contract.unreachable_steps
        side = PolicySide(policy, spec, rig.clock, gripper=policy.gripper_rule(), unreachable_steps=limit)
        policy.prepare(rig.goal)
        side.set_goal(rig.goal, rig.goal_domain, anyway=args.anyway)
        loop = ControlLoop(robot, rig.camera, side, rig.clock, spec.control.control_hz)
        steps = rig.steps if args.seconds is None else max(1, round(args.seconds * spec.control.control_hz))
        if args.out is not None:
            recorder = RunRecorder(args.out, rig.goal)
        report = RunReport(spec, loop, robot, recorder)
        if rig.start is not None:  # a real arm moves from here on: all that can be refused has been
            rig.start()
        loop.run(steps, report.note)
        score = rig.score() if rig.score is not None else None
        summary = report.summary(rig.name, score)
        print(summary.one_line(), flush=True)
        if recorder is not None:
            recorder.close(dataclasses.asdict(summary))
            recorder = None
    finally:
        if recorder is not None:  # ended by Ctrl-C or an error: the table stays, without a summary
            recorder.close(None)
        rig.close()
    return 0 if summary.refused is None else 1
