"""What a trained critic's `steps_to_goal` is worth, measured on the episodes that training held out, and the thresholds
made from it.

The goal of a held-out episode is its own last frame; the truth is the number of steps until then. Whether it tells
goals that cannot be reached is measured as well (`mqe_core/learning/export/reach_calibration.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.export.reach_calibration import Pair, calibrate_reach, ranks
from mqe_core.learning.rows.held_out import held_out_episodes
from mqe_core.learning.rows.scenes import scene_ends
from mqe_core.policy.goal_progress import Stall
from mqe_core.robot.arrays import AnyArray, Images, Ints

MIN_EPISODES = 10
_NEAR_STEPS, _FAR_STEPS = 3, 8  # frames so near their episode's end count as there, frames so far do not
# share of near frames missed plus share of far frames taken for near; a worse threshold would stop the arm on its way
_MAX_ERRORS = 0.2
_STALL_QUANTILE = 0.99

AnyFloats = NDArray[np.floating]
StepsToGoals = Callable[[Images, Images], AnyFloats]  # (n, S, S, 3) and goals (g, S, S, 3) -> (g, n)


@dataclass(frozen=True)
class Calibration:
    """Thresholds for deployment, and how good `steps_to_goal` is. The first two are None where it does not tell near
    from far.
    """

    reached_steps: float | None  # at most so far counts as reached
    stall_commands: int | None  # held-out episodes come closer at least once in so many commands (99 % of them)
    unreachable_steps: float | None  # farther counts as a goal that cannot be reached; None: goals are not refused
    why_not_refused: str | None  # why that is None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Distances:
    """`steps_to_goal` along held-out episodes, (T,) each."""

    own: list[AnyFloats]  # of each episode, to its own last frame
    remaining: list[Ints]  # of each episode, the steps that really remain
    scenes: list[list[Pair]]  # of each scene


def calibrate(
    steps_to_goals: StepsToGoals, store: EpisodeStore, camera: int, fraction: float, seed: int
) -> Calibration | None:
    """Measure on the episodes that `validation_fraction` and `seed` held out; None where fewer than MIN_EPISODES have
    images.

    The metrics: `calibration/rank_correlation` (Spearman, mean over episodes), `calibration/reached_missed` and
    `calibration/reached_false` (shares of near frames above and of far frames below the threshold),
    `calibration/episodes`, and those of `ReachCalibration`.
    """
    measured = distances(steps_to_goals, store, camera, held_out_episodes(store, fraction, seed))
    own, remaining = measured.own, measured.remaining
    if len(own) < MIN_EPISODES:
        return None
    distance, truth = np.concatenate(own), np.concatenate(remaining)
    near, far = distance[truth <= _NEAR_STEPS], distance[truth >= _FAR_STEPS]
    reached, missed, false = separate(near, far)
    reach = calibrate_reach(measured.scenes)
    metrics = {
        "calibration/rank_correlation": float(np.mean([rank_correlation(d, r) for d, r in zip(own, remaining)])),
        "calibration/reached_missed": missed,
        "calibration/reached_false": false,
        "calibration/episodes": float(len(own)),
        **reach.metrics,
    }
    if missed + false > _MAX_ERRORS:
        return Calibration(None, None, reach.unreachable_steps, reach.why_off, metrics)
    stalls = [longest_stall(d, reached) for d in own]
    stall_commands = int(np.ceil(np.quantile(stalls, _STALL_QUANTILE))) + 1
    return Calibration(reached, stall_commands, reach.unreachable_steps, reach.why_off, metrics)


def distances(steps_to_goals: StepsToGoals, store: EpisodeStore, camera: int, episodes: Ints) -> Distances:
    """Along each of `episodes` (numbers, ascending) that has images and is long enough: to its own goal, the scene's
    last one, and those of the next scene with such episodes.
    """
    starts, ends, has_image = store.episode_starts, store.episode_ends, store.has_image(camera)
    chosen = episodes[has_image[starts[episodes]] & (ends[episodes] - starts[episodes] > _FAR_STEPS + 1)]
    measured = Distances([], [], [])
    goals = store.images(ends[chosen] - 1, camera=camera)
    scene_of = np.searchsorted(scene_ends(store), ends[chosen], side="left")
    groups = [np.flatnonzero(scene_of == scene) for scene in np.unique(scene_of)]  # positions in `chosen`
    for number, group in enumerate(groups):
        measured.scenes.append([])
        elsewhere = groups[(number + 1) % len(groups)]
        for place, episode in enumerate(chosen[group]):
            frames = np.arange(starts[episode], ends[episode] - 1)  # the last frame is the goal itself
            observations = store.images(frames, camera=camera)
            measured.remaining.append(ends[episode] - 1 - frames)
            # Its own goal and the scene's last, which may be the same; of the other scene those in their places.
            wanted = sorted({place, len(group) - 1})
            there = [elsewhere[min(goal, len(elsewhere) - 1)] for goal in wanted] if len(groups) > 1 else []
            told = steps_to_goals(observations, goals[[*group[wanted], *there]])
            counts = measured.remaining[-1] >= _FAR_STEPS
            reachable, others = told[: len(wanted)], told[len(wanted) :] if there else [None] * len(wanted)
            measured.scenes[-1] += [Pair(near, other, counts) for near, other in zip(reachable, others)]
            measured.own.append(reachable[wanted.index(place)])
    return measured


def separate(near: AnyFloats, far: AnyFloats) -> tuple[float, float, float]:
    """The threshold with the least mean of both errors: it, the share of `near` above it, the share of `far` at or
    below it.
    """
    candidates = np.unique(near)
    missed = 1.0 - np.searchsorted(np.sort(near), candidates, side="right") / len(near)
    false = np.searchsorted(np.sort(far), candidates, side="right") / len(far)
    best = int(np.argmin(missed + false))
    return float(candidates[best]), float(missed[best]), float(false[best])


def longest_stall(distance: AnyFloats, reached: float) -> int:
    """Most commands in a row, before the goal is reached, that bring `distance` (T,) no closer than it was."""
    stall, longest = Stall(), 0
    for value in distance:
        if value <= reached:
            break
        longest = max(longest, stall.update(float(value)))
    return longest


def rank_correlation(a: AnyArray, b: AnyArray) -> float:
    """Spearman's: the correlation of the ranks; 0 where one side is constant."""
    both = np.stack([ranks(a), ranks(b)])
    return float(np.corrcoef(both)[0, 1]) if (both.std(axis=1) > 0).all() else 0.0
