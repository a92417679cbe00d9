"""Intervals of what evaluations measure; all two-sided, 95 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_Z_95 = 1.959963984540054  # quantile of the standard normal
_RESAMPLES = 10_000


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Of a success rate (Wilson score): stays inside [0, 1] and is honest at 0 and at all.

    Also of a mean of values in [0, 1], given as their sum: no such values vary more than successes and failures do, so it is on the wide side.
    """
    rate, z2 = successes / trials, _Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z_95 / (1 + z2 / trials) * np.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    # At no and at all successes the exact bounds are 0 and 1; rounding would leave 1e-17 beside them.
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == trials else float(centre + half)
    return low, high


def paired_difference(groups: Sequence[np.ndarray]) -> tuple[float, tuple[float, float]]:
    """Mean over groups of the mean paired difference, and its bootstrap interval.

    Args:
        groups: one array (n,) of differences per group (a task); pairs are drawn again within each group, 10,000 times, seed 0.

    Where all differences of a group are equal, that group adds no width: with few pairs, look at them.
    """
    rng = np.random.default_rng(0)
    means = np.mean(
        [np.asarray(g)[rng.integers(len(g), size=(_RESAMPLES, len(g)))].mean(axis=1) for g in groups], axis=0
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([np.mean(g) for g in groups])), (float(low), float(high))


def summarise(scores: Sequence[float], max_score: float) -> dict[str, object]:
    """Of an evaluation's scores, for JSON: episodes, success_rate (full scores) and mean_score with their intervals, max_score."""
    successes = sum(score >= max_score for score in scores)
    return {
        "episodes": len(scores),
        "success_rate": successes / len(scores),
        "ci95": list(wilson_interval(successes, len(scores))),
        "mean_score": float(np.mean(scores)),
        "mean_score_ci95": [bound * max_score for bound in wilson_interval(sum(scores) / max_score, len(scores))],
        "max_score": max_score,
    }
