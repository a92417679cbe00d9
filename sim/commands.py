"""Collect scripted demonstrations of the simulated WidowX250, check them, and render goal images."""

from __future__ import annotations

import argparse
from pathlib import Path

RANDOMISE_HELP = (
    "what else differs between scenes, comma-separated: colours, light, camera, friction, mass, action_delay, "
    "observation_delay, image_noise"
)


def name_list(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`mqe sim collect`, `mqe sim check` and `mqe sim goal`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    collect = actions.add_parser("collect", help="write demonstrations as a raw BridgeData V2 tree")
    collect.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    collect.add_argument("--episodes", type=int, required=True, help="how many episodes")
    collect.add_argument(
        "--out", type=Path, required=True, help="folder of the tree; an interrupted collection continues"
    )
    collect.add_argument("--seed", type=int, default=0, help="scene of the first episode (default: %(default)s)")
    collect.add_argument(
        "--workers", type=int, default=1, help="processes; the bytes do not depend on it (default: %(default)s)"
    )
    collect.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    collect.add_argument(
        "--stage",
        action="store_true",
        help="show a single stage of the task in each episode, the others done already or not",
    )
    collect.add_argument(
        "--first-stage",
        metavar="N",
        type=int,
        default=1,
        help="with --stage, the first of each scene (default: %(default)s)",
    )
    collect.add_argument(
        "--shuffle-stages",
        action="store_true",
        help="with --stage, draw each scene's order of stages from its seed, where the task allows any",
    )
    collect.add_argument("--randomise", type=name_list, default=(), metavar="NAMES", help=RANDOMISE_HELP)
    collect.add_argument(
        "--renderer", choices=("tiny", "egl"), default="tiny", help="tiny (CPU) or egl (OpenGL) (default: %(default)s)"
    )
    collect.add_argument(
        "--after-policy", type=Path, metavar="FILE", help="this policy drives first; recorded is how the script goes on"
    )
    check = actions.add_parser("check", help="check that every episode of a tree changes exactly one stage")
    check.add_argument("tree", type=Path, help="folder written by `mqe sim collect --stage`")
    goal = actions.add_parser("goal", help="render a goal image with its YAML")
    goal.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    goal.add_argument("--seed", type=int, required=True, help="scene")
    goal.add_argument("--out", type=Path, required=True, help="the .png to write; the .yaml goes beside it")
    goal.add_argument(
        "--renderer", choices=("tiny", "egl"), default="tiny", help="tiny (CPU) or egl (OpenGL) (default: %(default)s)"
    )
    goal.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    if args.action == "collect":
        from mqe_sim.collect import CollectionSettings, collect

        settings = CollectionSettings(
            task=args.task,
            robot=args.robot,
            seed=args.seed,
            single_stages=args.stage,
            first_stage=args.first_stage - 1,
            shuffled=args.shuffle_stages,
            randomise=args.randomise,
            renderer=args.renderer,
            after_policy=args.after_policy,
        )
        report = collect(settings, args.episodes, args.out, workers=args.workers)
        counts = f"{report.episodes} episodes ({report.written} new, {report.skipped} skipped)"
        print(f"{args.out}: {counts}, mean score {report.mean_score:.3f}")
    elif args.action == "check":
        from mqe_sim.bridge_tree import check_stages

        events, others = check_stages(args.tree)
        episodes = events.total()
        print(f"{args.tree}: {episodes - len(others)} of {episodes} episodes show exactly one stage")
        print("  " + ", ".join(f"{name}: {100 * count / episodes:.0f} %" for name, count in events.most_common()))
        for folder in others:
            print(f"  not {folder}")
        if others:
            print(
                "only `mqe sim collect --stage` keeps to one; without it an episode may show a chain, or a "
                "recovery after the last stage"
            )
        return 1 if others else 0
    else:
        from mqe_sim.goal_file import write_goal

        write_goal(args.robot, args.task, args.seed, args.out, args.renderer)
        print(f"{args.out}: goal of {args.task}, scene {args.seed}")
    return 0
