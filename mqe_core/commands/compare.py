"""Compare two policies on the scenes that both were evaluated in.

Give the result.json files of both (or the folders of `mqe eval --out`), any number of tasks each. Scenes are paired.
Scores are divided by the full score, and every task counts the same. The interval of the difference is a 95 % bootstrap
interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe compare`."""
    parser.add_argument(
        "--a", nargs="+", type=Path, required=True, metavar="RESULT", help="results of the first policy"
    )
    parser.add_argument(
        "--b",
        nargs="+",
        type=Path,
        required=True,
        metavar="RESULT",
        help="results of the second, for the same tasks and scenes",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(args: argparse.Namespace) -> int:
    """Run `mqe compare`."""
    import dataclasses
    import json

    from mqe_core.closed_loop.comparison import compare

    comparison = compare(args.a, args.b)
    if args.json:
        print(json.dumps(dataclasses.asdict(comparison), indent=1))
        return 0
    for task, row in comparison.tasks.items():
        low, high = row.ci95
        scores = f"{row.a:.3f} against {row.b:.3f} in {row.scenes} scenes"
        print(f"{task}: {scores}, difference {row.difference:+.3f} ({low:+.3f} to {high:+.3f})")
    low, high = comparison.ci95
    print(f"all tasks: difference {comparison.difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f})")
    return 0
