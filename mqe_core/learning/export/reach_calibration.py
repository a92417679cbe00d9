"""Can `steps_to_goal` tell goals of other scenes, which no policy reaches, from those that can be reached? Measured on
held-out scenes; and the threshold beyond which the policy's side refuses a goal.

A scene's goals that can be reached, seen from a frame of an episode, are that episode's last frame and the last frame
of the scene's last episode: its last stage. Goals of other scenes are the same two of the next scene with held-out
episodes. A scene is a dated folder of BridgeData (`mqe_core/learning/rows/scenes.py`), so the next one may lie on the
same table on another day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mqe_core.policy.reachability import IN_A_ROW
from mqe_core.robot.arrays import AnyArray, Bools

LEAST_ROC_AREA = 0.9
MOST_REFUSED = 0.01  # of the scenes
_DOUBT = 0.05  # how likely more may be refused than MOST_REFUSED

AnyFloats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Pair:
    """steps_to_goal (T,) along one held-out episode: to a goal of its scene, and to one of another scene, if there is
    one.
    """

    reachable: AnyFloats
    other: AnyFloats | None
    counts: Bools  # (T,) frames that the ROC area counts: those at the goal tell another scene's easily


@dataclass(frozen=True)
class ReachCalibration:
    """The threshold, None where goals are not refused; and what was measured.

    The metrics: `calibration/scenes`; `calibration/roc_area`, the probability that a goal of another scene is farther
    than one that can be reached, where there are two scenes or more; and where there are enough for a threshold,
    `calibration/unreachable_steps`, whether it is used or not, `calibration/refused_scenes` and
    `calibration/refused_other`, the shares of scenes with a reachable goal that it refuses, and of other scenes' goals.
    """

    unreachable_steps: float | None
    metrics: dict[str, float]

    @property
    def why_off(self) -> str | None:
        """Why goals are not refused, for people; None where they are."""
        if self.unreachable_steps is not None:
            return None
        scenes, area = int(self.metrics["calibration/scenes"]), self.metrics.get("calibration/roc_area")
        if area is None:
            return "the held-out episodes are all of one scene"
        if area < LEAST_ROC_AREA:
            return (
                f"steps_to_goal does not tell other scenes' goals (ROC area {area:.2f} over {scenes} held-out scenes, "
                f"{LEAST_ROC_AREA:g} is needed)"
            )
        return f"{scenes} held-out scenes are too few for a threshold, {fewest_scenes()} are needed"


def calibrate_reach(scenes: Sequence[Sequence[Pair]]) -> ReachCalibration:
    """The threshold that refuses reachable goals in at most MOST_REFUSED of the scenes, with 95 % confidence.

    Args:
        scenes: the pairs of each scene, one or more.
    """
    metrics = {"calibration/scenes": float(len(scenes))}
    area = scenes_roc_area(scenes)
    if area is None:
        return ReachCalibration(None, metrics)
    metrics["calibration/roc_area"] = area
    beyond = most_beyond(len(scenes))
    if beyond is None:
        return ReachCalibration(None, metrics)
    # The largest of a scene's goals, as they share its pictures: scenes are drawn independently, pairs are not.
    largest = np.array([max(hardest(pair.reachable) for pair in pairs) for pairs in scenes])
    threshold = float(np.sort(largest)[-1 - beyond])
    others = np.array([hardest(pair.other) for pairs in scenes for pair in pairs if pair.other is not None])
    metrics["calibration/unreachable_steps"] = threshold
    metrics["calibration/refused_scenes"] = float((largest > threshold).mean())
    metrics["calibration/refused_other"] = float((others > threshold).mean())
    return ReachCalibration(threshold if area >= LEAST_ROC_AREA else None, metrics)


def scenes_roc_area(scenes: Sequence[Sequence[Pair]]) -> float | None:
    """Over the frames that count of all pairs; None where there is no other scene."""
    told = [(pair.reachable, pair.other, pair.counts) for pairs in scenes for pair in pairs if pair.other is not None]
    if not told:
        return None
    return roc_area(
        np.concatenate([reachable[counts] for reachable, _, counts in told]),
        np.concatenate([other[counts] for _, other, counts in told]),
    )


def hardest(distance: AnyFloats) -> float:
    """The least threshold at which no answer of `distance` (T,) refuses the goal (`Reachability`).

    The first frame counts alone: the arm stands still until it may move, so all its first pictures are alike.
    """
    windows = np.lib.stride_tricks.sliding_window_view(distance, min(IN_A_ROW, len(distance)))
    return float(max(distance[0], windows.min(axis=1).max()))


def most_beyond(scenes: int) -> int | None:
    """How many of so many scenes may lie beyond a threshold taken from them, for 95 % confidence that at most
    MOST_REFUSED of all scenes do. None: there are too few.

    The distribution-free tolerance bound: the largest k with P(Binomial(scenes, MOST_REFUSED) <= k) <= 5 %.
    """
    probability = (1.0 - MOST_REFUSED) ** scenes  # of k = 0
    total, k = probability, 0
    while total <= _DOUBT:
        probability *= (scenes - k) / (k + 1) * MOST_REFUSED / (1.0 - MOST_REFUSED)
        k += 1
        total += probability
    return k - 1 if k else None


def fewest_scenes() -> int:
    """So many scenes are enough for a threshold."""
    return next(scenes for scenes in range(1, 10_000) if most_beyond(scenes) is not None)


def roc_area(lower: AnyFloats, higher: AnyFloats) -> float:
    """Probability that one of `lower` is below one of `higher`, ties counting half."""
    values = ranks(np.concatenate([lower, higher]))[len(lower) :]
    count = len(higher)
    return float((values.sum() - count * (count + 1) / 2) / (count * len(lower)))


def ranks(values: AnyArray) -> AnyFloats:
    """1 ... n, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
