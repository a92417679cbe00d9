"""Table of evaluations: python benchmarks/results_table.py RUNS, where RUNS/METHOD/TASK/result.json come from `mqe eval
--out`.

Prints each method's mean score with its 95 % interval on each task, and, against the first method named, the paired
difference of normalised scores over the tasks that chain stages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mqe_core.closed_loop.comparison import compare

TASKS = ("place1", "place2", "place3", "place4", "drawer_open", "drawer_close", "drawer_place", "reach")
CHAINED = ("place2", "place3", "place4", "drawer_place")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--methods", nargs="+", help="in this order (default: mqe, then all that are there)")
    args = parser.parse_args()
    there = sorted(
        {path.parents[1].name for path in args.runs.glob("*/*/result.json")}, key=lambda name: (name != "mqe", name)
    )
    methods = args.methods or there
    tasks = [task for task in TASKS if any((args.runs / method / task / "result.json").exists() for method in methods)]
    print(f"| method | {' | '.join(tasks)} |\n|---|{'---|' * len(tasks)}")
    for method in methods:
        print(f"| {method} | {' | '.join(cell(args.runs / method / task / 'result.json') for task in tasks)} |")
    for method in methods[1:]:
        sides = [[args.runs / side / task for task in CHAINED] for side in (methods[0], method)]
        if not all((folder / "result.json").exists() for side in sides for folder in side):
            continue
        result = compare(*sides)
        low, high = result.ci95
        print(
            f"\n{methods[0]} above {method} over {', '.join(CHAINED)}: {result.difference:+.3f} ({low:+.3f} to "
            f"{high:+.3f})"
        )


def cell(path: Path) -> str:
    """Mean score of the full score, its interval, and the successes."""
    if not path.exists():
        return "–"
    result = json.loads(path.read_text(encoding="utf-8"))
    low, high = result["mean_score_ci95"]
    solved = round(result["success_rate"] * result["episodes"])
    return (
        f"{result['mean_score']:.2f} of {result['max_score']:g} ({low:.2f}–{high:.2f}), {solved} of "
        f"{result['episodes']}"
    )


if __name__ == "__main__":
    main()
