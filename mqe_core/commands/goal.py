"""Take goal images with the robot's own camera, list them, and send a running graph to one.

mqe goal capture cup_in_bowl --backend hardware --camera /dev/video0 --table-height -0.02
mqe goal add photo.jpg --name cup
mqe goal list
mqe goal show cup_in_bowl
mqe goal send cup_in_bowl --timeout 60

`capture` opens the gripper, moves the arm out of the way, and waits until the table is as it shall become. Then it
writes a PNG and its YAML into ~/.mqe/goals and parks a real arm. It also parks the arm where the goal is given up
(Ctrl-C) or the camera fails. Ctrl-C while the arm moves holds it where it is, under torque. The backend `hardware`
needs the ROS workspace sourced and its driver running. For goals of the sim: mqe sim goal.

`add` makes a goal of a picture. It cuts and shrinks it to what the robot's camera sees, and says how.

`send` asks the policy of the graph in this ROS domain (ROS_DOMAIN_ID), follows the goal, and ends as the goal does:
exit code 0 only where it was reached. Ctrl-C cancels the goal. In the sim, take a goal of the scene that the graph was
started with.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mqe_core.commands import goal_add

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqe_core.robot.spec import RobotSpec
    from mqe_core.runtime.arm_side import ArmSide
    from mqe_core.runtime.robot import Camera, Clock, Frame

_SETTLE_S = 1.0
_NO_IMAGE_S = 5.0  # without a new image, after which the camera counts as dead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe goal`."""
    from mqe_core.robot.capture_pose import USUAL_CAPTURE_M

    actions = parser.add_subparsers(dest="goal_command", required=True, metavar="ACTION")
    capture = actions.add_parser("capture", help="take a goal image")
    capture.add_argument("name", metavar="NAME", help="of the goal, letters, digits, - and _: NAME.png and NAME.yaml")
    capture.add_argument(
        "--backend", choices=("hardware", "mock"), default="hardware", help="whose arm (default: %(default)s)"
    )
    capture.add_argument(
        "--camera",
        metavar="DEVICE",
        required=True,
        help="video device, such as /dev/video0 or 0; with mock an episode store",
    )
    capture.add_argument(
        "--pose",
        nargs=3,
        type=float,
        default=USUAL_CAPTURE_M,
        metavar=("X", "Y", "Z"),
        help="where the hand waits, m (default: 0.3 0 0.15)",
    )
    capture.add_argument(
        "--table-height",
        type=float,
        metavar="M",
        help="hardware: as in the launch (default: table_height_m in ~/.mqe/config.yaml)",
    )
    capture.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    capture.add_argument("--out", type=Path, metavar="DIR", help="folder (default: ~/.mqe/goals)")
    capture.add_argument("--force", action="store_true", help="replace a goal of that name, or hide a shipped one")
    capture.add_argument("--yes", action="store_true", help="take the picture at once, without waiting for Enter")
    goal_add.add_arguments(actions.add_parser("add", help="make a goal of a picture that you have"))
    actions.add_parser("list", help="your goals and those that come with this project")
    show = actions.add_parser("show", help="what a goal is")
    show.add_argument("name", metavar="NAME")
    send = actions.add_parser("send", help="have a running graph (mqe up) pursue a goal, in place of the one in force")
    send.add_argument(
        "goal", metavar="NAME|FILE", help="a goal's name (mqe goal list), or a PNG with its YAML beside it"
    )
    send.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds until it ends as timeout (default: %(default)g)",
    )
    send.add_argument("--anyway", action="store_true", help="pursue it also where the policy refuses it as unreachable")


def run(args: argparse.Namespace) -> int:
    """Run `mqe goal capture`, `add`, `list`, `show` or `send`."""
    return {"capture": _capture, "add": _add, "list": _list, "show": _show, "send": _send}[args.goal_command](args)


def _add(args: argparse.Namespace) -> int:
    from mqe_core.robot.capture_pose import USUAL_CAPTURE_POSE

    return goal_add.run(args, list(USUAL_CAPTURE_POSE))


def _capture(args: argparse.Namespace) -> int:
    import numpy as np

    from mqe_core.files.outputs import check_goal
    from mqe_core.policy.domain import REAL
    from mqe_core.policy.goals import require_picture, write_goal
    from mqe_core.robot.capture_pose import DOWN_AND_OPEN
    from mqe_core.robot.geometry import state_to_pose
    from mqe_core.robot.kinematics import inverse_kinematics
    from mqe_core.robot.spec import load_robot_spec, with_table_height
    from mqe_core.runtime.arm_side import ArmSide
    from mqe_core.runtime.backends import make_camera, make_robot
    from mqe_core.runtime.robot import MonotonicClock
    from mqe_core.user_files import measured_table_height

    path = goal_add.goal_path(args.name, args.out, force=args.force)
    check_goal(path, domain=REAL, force=args.force)
    spec = load_robot_spec(args.robot)
    if args.backend == "hardware":
        spec = with_table_height(spec, measured_table_height(args.table_height))
    elif args.table_height is not None:
        raise ValueError("--table-height belongs to --backend hardware")
    if not (args.yes or (sys.stdin is not None and sys.stdin.isatty())):
        raise ValueError(
            "there is no terminal on which to press Enter when the scene is arranged; arrange it before, and give --yes"
        )
    state = [*args.pose, *DOWN_AND_OPEN]
    joints = inverse_kinematics(spec, state_to_pose(np.array(state)), spec.neutral_rad)
    if joints is None:
        raise ValueError(f"the arm does not reach {args.pose} with its tool straight down; choose another --pose")
    clock = MonotonicClock()
    camera = (
        make_camera("opencv", spec, clock=clock, device=args.camera)
        if args.backend == "hardware"
        else _stored_camera(spec, clock, args.camera)
    )
    try:
        # A camera that shows nothing is found before the arm moves.
        require_picture(_new_image(camera, clock, clock.now()).image, "the camera")
        robot = make_robot(args.backend, spec, clock=clock)
        side = ArmSide(robot, clock)
        try:
            _go_on(side, clock, lambda: side.go_to(joints, "moving to the capture pose", gripper=1.0))
            if not args.yes:
                _wait_for_enter()
            frame = _new_image(camera, clock, clock.now() + _SETTLE_S)
            goal = write_goal(path, frame.image, camera=spec.camera.name, domain=frame.domain, capture_pose=state)
            print(
                f"{goal.path}: {frame.image.shape[1]}x{frame.image.shape[0]}, {goal.domain}; look at it, then: "
                f"goal:={args.name}",
                flush=True,
            )
        finally:
            try:
                if args.backend == "hardware":
                    _put_down(side, clock)
            finally:
                robot.close()
    finally:
        camera.close()
    return 0


def _wait_for_enter() -> None:
    try:
        input("arrange the scene as it shall become, stand back, and press Enter ")
    except EOFError:
        raise RuntimeError("the input ended before Enter was pressed: no goal was taken") from None


def _new_image(camera: Camera, clock: Clock, since: float) -> Frame:
    """An image taken at `since` (s of the clock, now or soon) or later, whatever older ones its driver holds back.

    Raises RuntimeError where none comes.
    """
    while (frame := camera.read()) is None or frame.stamp < since:
        if clock.now() > since + _NO_IMAGE_S:
            raise RuntimeError(f"the camera has given no new image for {_NO_IMAGE_S:g} s")
        clock.sleep_until(clock.now() + 0.02)
    return frame


def _go_on(side: ArmSide, clock: Clock, start: Callable[[], None]) -> None:
    """Begin a motion of the arm's own and follow it to its end and to rest.

    Whatever ends it before, the arm is held. Raises RuntimeError where it stops on the way.
    """
    from mqe_core.runtime.arm_side import READY

    try:
        start()
        while side.moves_itself:
            clock.sleep_until(clock.now() + side.robot.spec.control.period_s)
            side.tick()
        if side.state == READY:
            clock.sleep_until(clock.now() + _SETTLE_S)
    except BaseException as error:
        side.hold("Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error))
        raise
    if side.state != READY:
        raise RuntimeError(f"the arm stopped: {side.reason}")


def _put_down(side: ArmSide, clock: Clock) -> None:
    """Park the arm: motors that keep their torque would hold it up for hours.

    An arm that is held or in fault is left alone, and the user is told.
    """
    from mqe_core.robot.safety_rules import FAULT, HELD

    try:
        if side.state not in (HELD, FAULT):
            print("parking the arm; Ctrl-C holds it where it is", flush=True)
            _go_on(side, clock, side.park)
    finally:
        if side.state in (HELD, FAULT):
            sys.stderr.write(
                f"the arm is {side.state} ({side.reason}): it stays where it is, under torque, and nothing watches it "
                "any more. Clear its way and run this again, which moves on from there and parks it at the end; or "
                "support it by hand and switch its power off (docs/hardware.md)\n"
            )


def _stored_camera(spec: RobotSpec, clock: Clock, store: str) -> Camera:
    from mqe_core.closed_loop.stored_camera import store_domain
    from mqe_core.policy.domain import SIM
    from mqe_core.runtime.backends import make_camera

    domain = store_domain(Path(store))
    if domain == SIM:
        raise ValueError(
            f"{store} shows the sim, where a goal belongs to a scene: make one with mqe sim goal --task TASK "
            "--seed N --out NAME.png, or give a store of real images"
        )
    return make_camera("mock", spec, clock=clock, episodes=store, domain=domain)


def _list(_: argparse.Namespace) -> int:
    from mqe_core.policy.goals import read_goal
    from mqe_core.user_files import goal_folders

    first: dict[str, Path] = {}  # of each name, where it is found
    for folder in goal_folders():
        for path in sorted(folder.glob("*.png")) if folder.is_dir() else ():
            hides = first.setdefault(path.name, path)
            try:
                goal = read_goal(path)
                print(
                    f"{goal.name:24} {goal.domain:5} {goal.task or '':16} {path}"
                    + ("" if hides == path else f" (hidden by {hides})")
                )
            except (ValueError, FileNotFoundError) as error:
                sys.stderr.write(f"{error}\n")
    return 0


def _show(args: argparse.Namespace) -> int:
    from mqe_core.policy.goals import find_goal, read_goal
    from mqe_core.user_files import goal_folders

    goal = read_goal(find_goal(args.name, goal_folders()))
    x, y, z, roll, pitch, yaw, gripper = goal.capture_pose
    print(f"{goal.path}: {goal.image.shape[1]}x{goal.image.shape[0]} pixels, {goal.domain}, camera {goal.camera}")
    print(
        f"taken with the hand at ({x:.3f}, {y:.3f}, {z:.3f}) m, ({roll:.2f}, {pitch:.2f}, {yaw:.2f}) rad, gripper "
        f"{gripper:g}"
    )
    if goal.task is not None:
        print(f"scene: {goal.task}, seed {goal.seed}")
    return 0


def _send(args: argparse.Namespace) -> int:
    """Replaces this process by one that asks the graph."""
    from mqe_core.workspace import run_in_workspace

    if not (math.isfinite(args.timeout) and args.timeout > 0):
        raise ValueError(f"--timeout must be a number of seconds greater than 0, got {args.timeout:g}")
    file = Path(args.goal).expanduser()
    goal = str(file.resolve()) if file.is_file() else args.goal  # policy_node may run in another folder
    run_in_workspace("mqe_bringup.operate", "send", goal, str(args.timeout), *(["anyway"] if args.anyway else []))
