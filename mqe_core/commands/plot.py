"""Draw what runs learned: curves over updates, or the distance over a maze.

Runs that differ in their seed alone make one curve, with mean and 95 % interval over seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe plot`."""
    parser.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="run folders")
    parser.add_argument("--metric", default="eval/success", help="a column of metrics.csv (default: %(default)s)")
    parser.add_argument(
        "--distance",
        type=Path,
        metavar="RUN",
        help="instead: the learned distance over this run's maze beside the true one, with the policy's arrows",
    )
    parser.add_argument(
        "--goal", metavar="ROW,COLUMN", help="with --distance: its goal (default: that of the first task)"
    )
    parser.add_argument("--checkpoint", default="latest", help="with --distance: latest, or such as step_00100000")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG", help="the picture to write")


def run(args: argparse.Namespace) -> int:
    """Run `mqe plot`."""
    from mqe_core.files.kinds import PICTURE
    from mqe_core.files.outputs import check_file

    if bool(args.runs) == bool(args.distance):
        raise ValueError("give run folders to draw their curves, or one with --distance to draw its distance")
    check_file(args.out, PICTURE, apart=True)
    if args.distance:
        from mqe_core.ogbench.distance_plot import draw_distance
        from mqe_core.ogbench.run_evaluation import load

        draw_distance(load(args.distance, checkpoint=args.checkpoint), args.out, _cell(args.goal))
    else:
        from mqe_core.learning.run.curves import curves_of_runs, draw_curves

        draw_curves(curves_of_runs(args.runs, args.metric), args.metric, args.out)
    print(args.out)
    return 0


def _cell(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"--goal expects ROW,COLUMN, such as 1,14; got {text!r}") from error
    return row, column
