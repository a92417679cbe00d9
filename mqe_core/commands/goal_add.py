"""`mqe goal add`: a goal file from a picture that somebody has."""

from __future__ import annotations

import argparse
from pathlib import Path

from mqe_core.policy.domain import DOMAINS, REAL, SIM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe goal add`."""
    parser.add_argument(
        "picture", metavar="PICTURE", type=Path, help="a JPEG or PNG, as the robot's camera would see it"
    )
    parser.add_argument("--name", metavar="NAME", required=True, help="of the goal, letters, digits, - and _")
    parser.add_argument("--domain", choices=DOMAINS, default=REAL, help="what it shows (default: %(default)s)")
    parser.add_argument(
        "--camera", metavar="NAME", help="name of the camera that took it (default: the robot's, in its file)"
    )
    parser.add_argument("--task", metavar="TASK", help="of the scene, for the domain sim")
    parser.add_argument("--seed", type=int, metavar="N", help="of the scene, for the domain sim")
    parser.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder (default: ~/.mqe/goals)")
    parser.add_argument("--force", action="store_true", help="replace a goal of that name, or hide a shipped one")


def run(args: argparse.Namespace, capture_pose: list[float]) -> int:
    """Make the goal, and say what was done to the picture. `capture_pose`: the state (7,) that is written down."""
    from mqe_core import images
    from mqe_core.files.outputs import check_goal
    from mqe_core.policy.goal_pictures import as_the_camera_sees
    from mqe_core.policy.goals import require_picture, write_goal
    from mqe_core.robot.spec import load_robot_spec

    if (args.domain == SIM) != (args.task is not None and args.seed is not None):
        raise ValueError("a goal of the sim belongs to a scene: --task and --seed go with --domain sim, and only there")
    path = goal_path(args.name, args.out, force=args.force)
    check_goal(path, domain=args.domain, force=args.force)
    spec = load_robot_spec(args.robot)
    if not args.picture.exists():
        raise FileNotFoundError(f"{args.picture}: there is no such picture")
    picture = images.read(args.picture)
    seen, how = as_the_camera_sees(picture, spec.camera)
    require_picture(seen, str(args.picture))
    goal = write_goal(
        path,
        seen,
        camera=spec.camera.name if args.camera is None else args.camera,
        domain=args.domain,
        capture_pose=capture_pose,
        task=args.task,
        seed=args.seed,
    )
    print(f"{args.picture}: {how}")
    print(f"{goal.path}: {seen.shape[1]}x{seen.shape[0]}, {goal.domain}, camera {goal.camera}; look at it, then: "
          f"goal:={args.name}")  # fmt: skip
    return 0


def goal_path(name: str, folder: Path | None, *, force: bool) -> Path:
    """Where the goal `name` is to stand.

    ValueError where it may not be called so, or would hide a shipped one and `force` is not set.
    """
    from mqe_core.policy.goals import check_name
    from mqe_core.user_files import goal_folders

    check_name(name)
    own, *shipped = goal_folders()
    folder = folder or own
    path = folder / f"{name}.png"
    if folder.resolve() == own.resolve() and any((other / path.name).exists() for other in shipped) and not force:
        raise ValueError(
            f"{name} is a goal that comes with this project, which yours would hide; choose another name, or "
            "hide it with --force"
        )
    return path
