"""Two policies compared on the scenes that both were evaluated in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.closed_loop.results import read_scores


@dataclass(frozen=True)
class TaskComparison:
    """Mean scores of `a` and `b` in the same scenes, each divided by the full score, and their difference a − b with
    its 95 % bootstrap interval.
    """

    scenes: int
    a: float
    b: float
    difference: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """The mean difference of all tasks, every task counting the same, and each task's own."""

    difference: float
    ci95: tuple[float, float]
    tasks: dict[str, TaskComparison]


def compare(first: Sequence[Path], second: Sequence[Path]) -> Comparison:
    """Compare two sides, each given as result.json files or folders with one, any number of tasks each.

    Raises ValueError where the scenes of the two sides are not the same.
    """
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
        tasks[task] = TaskComparison(
            len(scenes), float(scores[0].mean()), float(scores[1].mean()), difference, interval
        )
    difference, interval = paired_difference(groups)
    return Comparison(difference, interval, tasks)


def _by_task(paths: Sequence[Path]) -> dict[str, dict[int, float]]:
    """Scores by task (and stage) and scene; several results of one task are joined."""
    joined: dict[str, dict[int, float]] = {}
    for path in paths:
        stored = read_scores(path)
        scores = joined.setdefault(stored.title, {})
        twice = scores.keys() & stored.by_scene.keys()
        if twice:
            raise ValueError(f"{stored.file}: scene {min(twice)} of {stored.title} is given twice")
        scores.update(stored.by_scene)
    return joined
