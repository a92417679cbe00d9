"""Write one web page on what a run learned, measured on held-out episodes: no robot, no simulator.

Action error in mm and degrees, gripper accuracy, what the learned distance is worth, and pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe report`."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--out", type=Path, metavar="PAGE", help="the page to write (default: RUN/report.html)")
    parser.add_argument("--checkpoint", default="latest", help="latest (default), or a kept one: step_00003000")
    parser.add_argument("--data", type=Path, metavar="STORE", help="where its training data is now")
    parser.add_argument(
        "--held-out", type=Path, metavar="STORE", help="measure on all of these episodes, which no training saw"
    )


def run(args: argparse.Namespace) -> int:
    """Run `mqe report`."""
    from mqe_core.learning.report.report import write_report

    page, figures = write_report(
        args.run_dir, args.out, checkpoint=args.checkpoint, data=args.data, held_out=args.held_out
    )
    errors = ", ".join(f"{name} {each['mean']:.2f} {each['unit']}" for name, each in figures["action_error"].items())
    print(f"mean action error on {figures['episodes']} held-out episodes: {errors}")
    print(page)
    return 0
