"""What a run learned, measured on episodes that it did not see.

A goal is the last frame of an episode, as an operator would picture it. Intervals are of 95 %, by bootstrap over
episodes: frames of one episode are no independent witnesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.export.calibration import rank_correlation
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.report.each_once import Features, each_picture_once
from mqe_core.learning.run.run_folder import action_scale
from mqe_core.policy.contract import ACTION_NAMES
from mqe_core.robot.arrays import Floats, Ints

CANDIDATES = 256  # goals among which the true one is to be found
MOST_EPISODES, MOST_FRAMES, QUERIES = 64, 2048, 32
OPEN = 0.5  # gripper actions above ask for an open one
TO_SHOWN = np.array([1e3, 1e3, 1e3, *[180.0 / np.pi] * 3])  # m and rad → mm and degrees
_BATCH = 256
_RESAMPLES = 1000


@dataclass(frozen=True)
class Answers:
    """What the policy says in F frames, each with its own goal, and what the data has."""

    frames: Ints  # (F,) of the store
    goals: Ints  # (F,) the last frame of each one's episode
    episode: Ints  # (F,) its number
    data: Floats  # (F, 7) actions in m, rad
    policy: Floats  # (F, 7)
    steps: Floats | None  # (F,) steps_to_goal; None where the agent has no critic


@dataclass(frozen=True)
class Retrieval:
    """Q frames, and the distances to C goals of each, the own one first."""

    frames: Ints  # (Q,)
    goals: Ints  # (Q, C) frames
    steps: Floats  # (Q, C) steps_to_goal

    @property
    def ranks(self) -> Ints:
        """(Q,): 1 where no other goal is nearer than the own one."""
        return 1 + (self.steps[:, 1:] < self.steps[:, :1]).sum(axis=1).astype(np.int64)


class Judge:
    """The policy of a run, asked about frames of a store."""

    def __init__(self, agent: Agent, metadata: dict[str, Any], store: EpisodeStore) -> None:
        self.store, self.camera = store, int(metadata["camera"])
        self._agent, self._kind = agent, metadata["observation"]["kind"]
        scale = action_scale(metadata)
        self._middle, self._half_range = (scale.low + scale.high) / 2, (scale.high - scale.low) / 2
        self._seen: dict[int, Tensor] = {}  # features by frame, which are small
        self._features: Features = {}
        if self._kind != "state" and self.camera not in store.cameras:
            raise ValueError(f"{store.path} has cameras {list(store.cameras)}, and the run sees camera {self.camera}")

    def frames_of(self, episodes: Ints) -> list[Ints]:
        """Of each episode that can be seen, the frames with an action."""
        starts, ends = self.store.episode_starts, self.store.episode_ends
        seen = np.ones(self.store.num_frames, bool) if self._kind == "state" else self.store.has_image(self.camera)
        return [np.arange(starts[number], ends[number] - 1) for number in episodes if seen[starts[number]]]

    def ask(self, frames: Ints, goals: Ints) -> tuple[Floats, Floats | None]:
        """(n,) observations and goals → actions (n, 7) in m and rad, and steps_to_goal (n,)."""
        actions, steps = [], []
        with torch.no_grad(), each_picture_once(self._agent, self._features):
            for start in range(0, len(frames), _BATCH):
                chosen = slice(start, start + _BATCH)
                action, distance = self._agent.deployed(self._see(frames[chosen]), self._see(goals[chosen]))
                actions.append((self._middle + self._half_range * action.numpy()).astype(np.float64))
                steps += [] if distance is None else [distance.numpy().astype(np.float64)]
        return np.concatenate(actions), np.concatenate(steps) if steps else None

    def steps(self, frames: Ints, goals: Ints) -> Floats:
        """(n,) steps_to_goal alone, of an agent with a critic; no action is computed that is not needed for it."""
        steps = []
        with torch.no_grad(), each_picture_once(self._agent, self._features):
            for start in range(0, len(frames), _BATCH):
                chosen = slice(start, start + _BATCH)
                distance = self._agent.steps_to_goal(self._see(frames[chosen]), self._see(goals[chosen]))
                assert distance is not None, "it is asked of an agent with a critic"
                steps.append(distance.numpy().astype(np.float64))
        return np.concatenate(steps)

    def _see(self, frames: Ints) -> Tensor:
        """What enters the agent."""
        if self._kind == "state":
            return torch.from_numpy(self.store.states[frames].copy())
        encoder = self._agent.image_encoder
        if encoder is None:
            unique, inverse = np.unique(frames, return_inverse=True)
            return torch.from_numpy(self.store.images(unique, self.camera)[inverse])
        new = np.array(sorted(set(frames.tolist()) - self._seen.keys()), dtype=np.int64)
        if len(new):
            self._seen |= dict(zip(new.tolist(), encoder(torch.from_numpy(self.store.images(new, self.camera)))))
        return torch.stack([self._seen[frame] for frame in frames.tolist()])


def answers(judge: Judge, episodes: Ints) -> Answers:
    """In all frames of at most MOST_EPISODES of the episodes (numbers), or evenly in MOST_FRAMES of them. ValueError
    where there is none.
    """
    chosen = episodes[evenly(len(episodes), MOST_EPISODES)]
    parts = judge.frames_of(chosen)
    if not parts:
        raise ValueError(f"{judge.store.path}: no held-out episode has images of camera {judge.camera}")
    frames = np.concatenate(parts)
    frames = frames[evenly(len(frames), MOST_FRAMES)]
    episode = np.searchsorted(judge.store.episode_ends, frames, side="right")
    goals = judge.store.episode_ends[episode] - 1
    policy, steps = judge.ask(frames, goals)
    data = judge.store.actions[frames].astype(np.float64)
    return Answers(frames, goals, episode, data, policy, steps)


def retrieval(judge: Judge, found: Answers, rng: np.random.Generator) -> Retrieval | None:
    """Of QUERIES frames the distances to their own goal and to frames of other held-out episodes, CANDIDATES in all or
    as many as there are; None where there is no other episode.
    """
    chosen = evenly(len(found.frames), QUERIES)
    everything = np.unique(np.concatenate([found.frames, found.goals]))
    owner = np.searchsorted(judge.store.episode_ends, everything, side="right")
    others = [everything[owner != found.episode[query]] for query in chosen]
    count = min([CANDIDATES - 1, *map(len, others)])
    if not count:
        return None
    goals = np.stack(
        [
            np.concatenate([found.goals[query : query + 1], rng.choice(other, count, replace=False)])
            for query, other in zip(chosen, others)
        ]
    )
    frames = found.frames[chosen]
    steps = judge.steps(np.repeat(frames, goals.shape[1]), goals.reshape(-1))
    return Retrieval(frames, goals, steps.reshape(goals.shape))


def evenly(count: int, most: int) -> Ints:
    """At most `most` of `count` places, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def interval(values: Floats, groups: Ints, rng: np.random.Generator) -> tuple[float, float]:
    """95 % of the mean of `values (n,)`, by bootstrap over the groups `(n,)`."""
    numbers = np.unique(groups)
    sums = np.array([values[groups == number].sum() for number in numbers])
    counts = np.array([(groups == number).sum() for number in numbers])
    drawn = rng.integers(len(numbers), size=(_RESAMPLES, len(numbers)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def figures(found: Answers, retrieved: Retrieval | None, rng: np.random.Generator) -> dict[str, Any]:
    """The numbers of a report, for JSON. Beside each stands what an answer would get that never looks: the mean action
    of these frames, the commoner state of the gripper, a goal by chance.
    """
    errors = np.abs(found.policy - found.data)[:, :6] * TO_SHOWN
    blind = np.abs(found.data.mean(axis=0) - found.data)[:, :6] * TO_SHOWN
    is_open, says_open = found.data[:, 6] > OPEN, found.policy[:, 6] > OPEN
    right, turns = (is_open == says_open).astype(np.float64), _turns(is_open, found.episode)
    said: dict[str, Any] = {
        "episodes": len(np.unique(found.episode)),
        "frames": len(found.frames),
        "action_error": {
            name: {
                "unit": "mm" if column < 3 else "deg",
                "mean": float(errors[:, column].mean()),
                "interval": interval(errors[:, column], found.episode, rng),
                "p90": float(np.quantile(errors[:, column], 0.9)),
                "of_the_mean_action": float(blind[:, column].mean()),
            }
            for column, name in enumerate(ACTION_NAMES[:6])
        },
        "gripper": {
            "accuracy": float(right.mean()),
            "interval": interval(right, found.episode, rng),
            "of_the_commoner": float(max(is_open.mean(), 1 - is_open.mean())),
            "changes": int(turns.sum()),
            "accuracy_at_changes": float(right[turns].mean()) if turns.any() else None,
        },
        "rank_correlation": None,
        "retrieval": None,
    }
    if found.steps is not None:
        said["rank_correlation"] = _rank_correlation(found, rng)
    if retrieved is not None:
        ranks, count = retrieved.ranks, retrieved.goals.shape[1]
        said["retrieval"] = {
            "candidates": count,
            "queries": len(ranks),
            "first": float((ranks == 1).mean()),
            "among_5": float((ranks <= 5).mean()),
            "median_rank": float(np.median(ranks)),
            "median_rank_by_chance": (count + 1) / 2,
        }
    return said


def _turns(is_open: Any, episode: Ints) -> Any:
    """(F,) bool: the action asks for another gripper than the one before, of the same episode."""
    turns = np.zeros(len(is_open), dtype=bool)
    turns[1:] = (is_open[1:] != is_open[:-1]) & (episode[1:] == episode[:-1])
    return turns


def _rank_correlation(found: Answers, rng: np.random.Generator) -> dict[str, Any] | None:
    """Spearman's, of steps_to_goal and the steps that remain: mean over episodes."""
    assert found.steps is not None
    each, remaining = [], found.goals - found.frames
    for number in np.unique(found.episode):
        of_it = found.episode == number
        if of_it.sum() >= 3:
            each.append(rank_correlation(found.steps[of_it], remaining[of_it]))
    if not each:
        return None
    values = np.array(each)
    return {
        "mean": float(values.mean()),
        "interval": interval(values, np.arange(len(values)), rng),
        "episodes": len(values),
    }


def longest(found: Answers, count: int) -> Sequence[int]:
    """Numbers of the `count` episodes with the most frames."""
    numbers, lengths = np.unique(found.episode, return_counts=True)
    return [int(number) for number in numbers[np.argsort(-lengths, kind="stable")[:count]]]
