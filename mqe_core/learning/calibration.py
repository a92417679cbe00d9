"""What a trained critic's `steps_to_goal` is worth, measured on the episodes that training held out, and the thresholds made from it.

The goal of a held-out episode is its own last frame; the truth is the number of steps until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mqe_core.data.episode_store import EpisodeStore
from mqe_core.learning.trainer import held_out_episodes
from mqe_core.progress import Stall

MIN_EPISODES = 10
_NEAR_STEPS, _FAR_STEPS = 3, 8  # frames so near their episode's end count as there, frames so far do not
_MAX_ERRORS = 0.2  # share of near frames missed plus share of far frames taken for near; a worse threshold would stop the arm on its way
_STALL_QUANTILE = 0.99

StepsToGoal = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, S, S, 3) uint8 twice -> (n,)


@dataclass(frozen=True)
class Calibration:
    """Thresholds for deployment, and how good `steps_to_goal` is. Both are None where it does not tell near from far."""

    reached_steps: float | None  # at most so far counts as reached
    stall_commands: int | None  # held-out episodes come closer at least once in so many commands (99 % of them)
    metrics: dict[str, float]


def calibrate(
    steps_to_goal: StepsToGoal, store: EpisodeStore, camera: int, fraction: float, seed: int
) -> Calibration | None:
    """Measure on the episodes that `validation_fraction` and `seed` held out; None where fewer than MIN_EPISODES have images.

    The metrics: `calibration/rank_correlation` (Spearman, mean over episodes), `calibration/roc_area` (own goal against the goal of another
    episode, over all frames not near their end), `calibration/reached_missed` and `calibration/reached_false` (shares of near frames above
    and of far frames below the threshold), `calibration/episodes`.
    """
    ends = store.episode_ends
    starts = np.concatenate([[0], ends[:-1]])
    has_image = store.has_image(camera)
    chosen = [
        e
        for e in held_out_episodes(store, fraction, seed)
        if has_image[starts[e]] and ends[e] - starts[e] > _FAR_STEPS + 1
    ]
    if len(chosen) < MIN_EPISODES:
        return None
    goals = store.images(ends[chosen] - 1, camera=camera)
    own, other, remaining = [], [], []
    for number, episode in enumerate(chosen):
        frames = np.arange(starts[episode], ends[episode] - 1)  # the last frame is the goal itself
        observations = store.images(frames, camera=camera)
        for values, goal in ((own, goals[number]), (other, goals[(number + 1) % len(chosen)])):
            values.append(steps_to_goal(observations, np.broadcast_to(goal, observations.shape)))
        remaining.append(ends[episode] - 1 - frames)
    distance, truth = np.concatenate(own), np.concatenate(remaining)
    near, far = distance[truth <= _NEAR_STEPS], distance[truth >= _FAR_STEPS]
    reached, missed, false = separate(near, far)
    metrics = {
        "calibration/rank_correlation": float(np.mean([rank_correlation(d, r) for d, r in zip(own, remaining)])),
        "calibration/roc_area": roc_area(far, np.concatenate(other)[truth >= _FAR_STEPS]),
        "calibration/reached_missed": missed,
        "calibration/reached_false": false,
        "calibration/episodes": float(len(chosen)),
    }
    if missed + false > _MAX_ERRORS:
        return Calibration(None, None, metrics)
    stalls = [longest_stall(d, reached) for d in own]
    return Calibration(reached, int(np.ceil(np.quantile(stalls, _STALL_QUANTILE))) + 1, metrics)


def separate(near: np.ndarray, far: np.ndarray) -> tuple[float, float, float]:
    """The threshold with the least mean of both errors: it, the share of `near` above it, the share of `far` at or below it."""
    candidates = np.unique(near)
    missed = 1.0 - np.searchsorted(np.sort(near), candidates, side="right") / len(near)
    false = np.searchsorted(np.sort(far), candidates, side="right") / len(far)
    best = int(np.argmin(missed + false))
    return float(candidates[best]), float(missed[best]), float(false[best])


def longest_stall(distance: np.ndarray, reached: float) -> int:
    """Most commands in a row, before the goal is reached, that bring `distance` (T,) no closer than it was."""
    stall, longest = Stall(), 0
    for value in distance:
        if value <= reached:
            break
        longest = max(longest, stall.update(float(value)))
    return longest


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks; 0 where one side is constant."""
    ranks = np.stack([_ranks(a), _ranks(b)])
    return float(np.corrcoef(ranks)[0, 1]) if (ranks.std(axis=1) > 0).all() else 0.0


def roc_area(lower: np.ndarray, higher: np.ndarray) -> float:
    """Probability that one of `lower` is below one of `higher`, ties counting half."""
    ranks = _ranks(np.concatenate([lower, higher]))[len(lower) :]
    count = len(higher)
    return float((ranks.sum() - count * (count + 1) / 2) / (count * len(lower)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 ... n, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
