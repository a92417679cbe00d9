"""Compare two policies on the scenes that both were evaluated in.

Give the result.json files (or the folders of `mqe eval --out`) of both, any number of tasks each. Scenes are paired; the difference is
that of the mean normalised score (score over full score), every task counting the same, with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
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
    comparison = compare(args.a, args.b)
    if args.json:
        print(json.dumps(comparison, indent=1))
        return 0
    for task, row in comparison["tasks"].items():
        low, high = row["ci95"]
        scores = f"{row['a']:.3f} against {row['b']:.3f} in {row['scenes']} scenes"
        print(f"{task}: {scores}, difference {row['difference']:+.3f} ({low:+.3f} to {high:+.3f})")
    low, high = comparison["ci95"]
    print(f"all tasks: difference {comparison['difference']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})")
    return 0


def compare(first: list[Path], second: list[Path]) -> dict[str, object]:
    """Normalised scores and their paired differences, first minus second, by task and over all; ValueError where scenes do not pair."""
    import numpy as np

    from mqe_core.statistics import paired_difference

    a, b = _by_task(first), _by_task(second)
    if set(a) != set(b):
        raise ValueError(f"the two sides hold different tasks: {', '.join(sorted(a))} and {', '.join(sorted(b))}")
    tasks, groups = {}, []
    for task in a:
        scenes = sorted(a[task])
        if scenes != sorted(b[task]):
            raise ValueError(
                f"{task}: the two sides were evaluated in different scenes; use the same --seed and --episodes"
            )
        scores = np.array([[side[task][scene] for scene in scenes] for side in (a, b)])
        groups.append(scores[0] - scores[1])
        difference, interval = paired_difference(groups[-1:])
        tasks[task] = {
            "scenes": len(scenes),
            "a": scores[0].mean(),
            "b": scores[1].mean(),
            "difference": difference,
            "ci95": list(interval),
        }
    difference, interval = paired_difference(groups)
    return {"difference": difference, "ci95": list(interval), "tasks": tasks}


def _by_task(paths: list[Path]) -> dict[str, dict[int, float]]:
    """Normalised score by task and scene; several results of one task are joined."""
    scores: dict[str, dict[int, float]] = {}
    for path in paths:
        file = path / "result.json" if path.is_dir() else path
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            if result.get("randomise"):
                raise ValueError(f"its scenes were randomised: {', '.join(result['randomise'])}")
            outcomes = {o["scene_seed"]: o["score"] / result["max_score"] for o in result["outcomes"]}
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is no result of `mqe eval` that can be paired ({error})") from error
        stage = result.get("stage")
        played = result["task"] if stage is None else f"{result['task']}, stage {stage}"
        twice = scores.setdefault(played, {}).keys() & outcomes.keys()
        if twice:
            raise ValueError(f"{file}: scene {min(twice)} of {played} is given twice")
        scores[played].update(outcomes)
    return scores
