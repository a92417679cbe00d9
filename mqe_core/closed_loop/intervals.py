"""Intervals of what evaluations measure: two-sided, 95 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.robot.arrays import Floats

_Z_95 = 1.959963984540054  # quantile of the standard normal
_RESAMPLES = 10_000


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's score interval (low, high) of a success rate. It stays inside [0, 1], also where none or all succeed.

    It also serves for the mean of values in [0, 1], given as their sum. No such values vary more than successes and
    failures do, so it is then on the wide side.
    """
    rate, z2 = successes / trials, _Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z_95 / (1 + z2 / trials) * np.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    # At no and at all successes the exact bounds are 0 and 1; rounding would leave 1e-17 beside them.
    low = 0.0 if successes == 0 else float(centre - half)
    high = 1.0 if successes == trials else float(centre + half)
    return low, high


def paired_difference(groups: Sequence[Floats]) -> tuple[float, tuple[float, float]]:
    """Mean over groups of the mean paired difference, and its bootstrap interval (low, high).

    Args:
        groups: one array (n,) of differences per group (a task). Pairs are drawn again within each group, 10,000 times,
            with seed 0.

    A group whose differences are all equal adds no width. With few pairs, look at the pairs themselves.
    """
    rng = np.random.default_rng(0)
    means = np.mean(
        [np.asarray(g)[rng.integers(len(g), size=(_RESAMPLES, len(g)))].mean(axis=1) for g in groups], axis=0
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(np.mean([np.mean(g) for g in groups])), (float(low), float(high))
