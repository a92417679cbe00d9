"""Measure how often a policy reaches its goal in held-out scenes of the simulator.

Scenes are numbered from 1,000,000 + SEED, where no training data is collected; the same seed gives the same
result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe eval`."""
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=50, help="how many scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first held-out scene (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes; the result does not depend on it (default: %(default)s)",
    )
    parser.add_argument("--backend", default="sim", help="simulator (default: %(default)s)")
    parser.add_argument(
        "--randomise",
        metavar="NAMES",
        default="",
        help="what else differs between scenes, comma-separated; see `mqe sim collect --help`",
    )
    parser.add_argument(
        "--only-stage",
        metavar="N",
        type=int,
        help="play this stage of the task alone, from 1, those before it done already",
    )
    parser.add_argument("--robot", default="widowx250s", help="robot spec, a name (default: %(default)s)")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="also write result.json, episodes.csv, a figure of steps_to_goal and a film",
    )
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run `mqe eval`."""
    from mqe_core.evaluate import evaluate
    from mqe_core.evaluation_report import FILMS, write_report
    from mqe_core.spec import load_robot_spec

    spec = load_robot_spec(args.robot)
    options = {"backend": args.backend, "workers": args.workers, "films": FILMS if args.out else 0}
    options["randomise"] = [name.strip() for name in args.randomise.split(",") if name.strip()]
    options["stage"] = None if args.only_stage is None else args.only_stage - 1
    result = evaluate(args.policy, spec, args.task, args.episodes, args.seed, **options)
    written = write_report(result, args.out, spec.control.control_hz) if args.out else []
    summary = result.summary()
    if args.json:
        print(json.dumps(summary, indent=1))
        return 0
    low, high = summary["ci95"]
    score_low, score_high = summary["mean_score_ci95"]
    successes = sum(outcome.success for outcome in result.outcomes)
    print(
        f"{result.played}: {successes} of {args.episodes} scenes solved, {100 * summary['success_rate']:.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %), mean score {summary['mean_score']:.3f} "
        f"({score_low:.3f} to {score_high:.3f}) of {summary['max_score']:g}"
    )
    for path in written:
        print(f"  {path}")
    return 0
