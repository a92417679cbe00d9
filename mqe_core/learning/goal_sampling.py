"""Which frames make a training row: the transition, its waypoint, the value goal and the actor goal.

All index rules are those of the official code on compact data. An episode stores frames s_0 ... s_L; the last one has no action, so
the valid transitions are s_0 ... s_{L-1} and ``final(t)``, the last frame that can be a goal or a waypoint of the geometric and
uniform rules, is s_{L-1}. s_L is only ever a next observation. At t = final(t) the goal is the frame itself, zero steps away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GoalIndices:
    """Frame indices of B training rows; every array is (B,) int64."""

    observation: np.ndarray
    waypoint: np.ndarray
    waypoint_steps: np.ndarray  # k, control steps from the observation to the waypoint; 0 only at the last valid frame
    value_goal: np.ndarray
    actor_goal: np.ndarray

    def __post_init__(self) -> None:
        assert len({array.shape for array in vars(self).values()}) == 1, "all index arrays have one row per transition"
        assert (self.waypoint_steps >= 0).all(), "waypoints never lie behind"


@dataclass(frozen=True)
class GoalMixture:
    """How a goal is drawn: the frame itself, a later frame of its episode, where an episode of its scene ends, or any of the data; sums to 1."""

    current: float = 0.0
    trajectory: float = 1.0
    random: float = 0.0
    scene: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.current, self.trajectory, self.scene, self.random)
        if min(weights) < 0 or abs(sum(weights) - 1.0) > 1e-6:
            raise ValueError(
                f"a goal mixture needs probabilities that sum to 1, got current/trajectory/scene/random = {weights}"
            )


class TransitionIndex:
    """The valid transitions of a store and, for each frame, the last valid frame of its episode and of its scene."""

    def __init__(
        self,
        valid: np.ndarray,
        episode_ends: np.ndarray,
        scene_ends: np.ndarray | None = None,
        stopping: np.ndarray | None = None,
    ) -> None:
        """``valid (N,) bool``: the frame has an action and a successor; ``episode_ends (E,)``: exclusive ends, increasing.

        ``scene_ends (S,)``: the same for scenes, runs of episodes that were recorded one after the other on one table; by default each
        episode is one. ``stopping (N,) bool``: frames that meet no scene goal of a later episode, as the demonstrator comes to rest there,
        which is no step towards that goal; by default none.
        """
        frames = len(valid)
        ends = np.asarray(episode_ends, dtype=np.int64)
        if len(ends) == 0 or ends[-1] != frames or np.any(np.diff(ends, prepend=0) <= 0):
            raise ValueError(
                f"episode_ends must increase strictly and end at the number of frames ({frames}), got {ends[-5:]}"
            )
        valid = np.asarray(valid, dtype=bool)
        if np.any(valid[ends - 1]):
            raise ValueError(
                "the last frame of an episode has no successor and cannot be valid: the store is inconsistent"
            )
        self.indices = np.flatnonzero(valid)
        if len(self.indices) == 0:
            raise ValueError(
                "the data holds no transition: every episode needs at least two frames, one of them with an action"
            )
        self.final = self._last_valid(ends, frames)
        self._finals = np.unique(self.final[self.indices])
        scenes = ends if scene_ends is None else np.asarray(scene_ends, dtype=np.int64)
        self._scene_final = self._last_valid(scenes, frames)
        self._scene = np.searchsorted(scenes, np.arange(frames), side="right")
        self._stopping = np.zeros(frames, dtype=bool) if stopping is None else stopping
        self._scene_bounds = np.concatenate([[0], np.searchsorted(self.indices, scenes)])

    def _last_valid(self, ends: np.ndarray, frames: int) -> np.ndarray:
        """(N,): the last valid frame at or before the end of each frame's stretch; only defined, and only used, for valid frames."""
        stretch_of = np.searchsorted(ends, np.arange(frames), side="right")
        last_valid_before_end = np.searchsorted(self.indices, ends, side="left") - 1
        return self.indices[np.maximum(last_valid_before_end, 0)][stretch_of]

    def scene(self, frames: np.ndarray) -> np.ndarray:
        """The number of each frame's scene, in the store's order."""
        return self._scene[frames]

    def draw(self, rng: np.random.Generator, count: int, scenes: int = 0) -> np.ndarray:
        """``count`` valid frames, uniformly with replacement; with ``scenes`` from the scenes of so many of such frames, equally from each.

        A scene is as likely as it is long, so every frame is as likely as any other.
        """
        if scenes == 0:
            return self.indices[rng.integers(len(self.indices), size=count)]
        chosen = self._scene[self.indices[rng.integers(len(self.indices), size=scenes)]]
        first, end = self._scene_bounds[chosen], self._scene_bounds[chosen + 1]  # positions in indices
        return self.indices[rng.integers(np.resize(first, count), np.resize(end, count))]

    def geometric_goals(self, rng: np.random.Generator, t: np.ndarray, discount: float) -> np.ndarray:
        """``min(t + Geom(1 - discount), final(t))``, steps counted from 1."""
        return np.minimum(t + rng.geometric(1.0 - discount, size=t.shape), self.final[t])

    def uniform_goals(self, rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
        """``round(min(t + 1, final) * u + final * (1 - u))``: both ends have half the weight of the frames between."""
        final = self.final[t]
        u = rng.random(t.shape)
        return np.rint(np.minimum(t + 1, final) * u + final * (1.0 - u)).astype(np.int64)

    def scene_goals(self, rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
        """The last valid frame of t's episode or of a later one of its scene, each as likely: pictures as an operator takes them."""
        last_goal = np.where(self._stopping[t], self.final[t], self._scene_final[t])
        first, last = np.searchsorted(self._finals, self.final[t]), np.searchsorted(self._finals, last_goal)
        return self._finals[rng.integers(first, last + 1)]

    def mixed_goals(
        self, rng: np.random.Generator, t: np.ndarray, mixture: GoalMixture, discount: float | None
    ) -> np.ndarray:
        """Goals of a mixture; trajectory goals are geometric with ``discount``, or uniform where it is None."""
        if mixture.current == 1.0:
            return t.copy()
        goals = self.uniform_goals(rng, t) if discount is None else self.geometric_goals(rng, t, discount)
        if mixture.random > 0.0:
            from_trajectory = rng.random(t.shape) < mixture.trajectory / (mixture.trajectory + mixture.random)
            goals = np.where(from_trajectory, goals, self.draw(rng, len(t)))
        if mixture.scene > 0.0:
            goals = np.where(
                rng.random(t.shape) < mixture.scene / (1.0 - mixture.current), self.scene_goals(rng, t), goals
            )
        if mixture.current > 0.0:
            goals = np.where(rng.random(t.shape) < mixture.current, t, goals)
        return goals

    def crossed_pairs(self, rows: GoalIndices) -> np.ndarray:
        """``(P, 2)``: rows, and rows whose actor goal comes later in the first one's scene, each picture once; the own goal always."""
        own = np.arange(len(rows.observation))
        goals, first, same = np.unique(rows.actor_goal, return_index=True, return_inverse=True)
        t = rows.observation[:, None]
        later = (self._scene[t] == self._scene[goals]) & (t < goals) & ~(self._stopping[t] & (goals > self.final[t]))
        later[own, same] = True
        row, goal = np.nonzero(later)
        return np.stack([row, first[goal]], axis=1)


@dataclass(frozen=True)
class WaypointSampler:
    """MQE's rows: a geometric value goal, a waypoint on the way to it, and an actor goal from its own mixture."""

    discount: float  # gamma: value goals are Geom(1 - gamma) steps ahead
    lambda_: float  # waypoints are Geom(1 - lambda) steps ahead, never past the value goal of their own row
    next_state_sample: float  # p: probability that the waypoint is the next observation, one step ahead
    actor_goals: GoalMixture = GoalMixture()

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""
        t = transitions.draw(rng, batch_size, scenes)
        value_goal = transitions.geometric_goals(rng, t, self.discount)
        waypoint = np.minimum(transitions.geometric_goals(rng, t, self.lambda_), value_goal)
        # The one-step waypoint is the next observation, so at the last valid frame it is s_L, one step past the goal.
        waypoint = np.where(rng.random(batch_size) < self.next_state_sample, t + 1, waypoint)
        # The one waypoint past its goal is the next observation of an episode's last transition.
        assert (waypoint <= np.maximum(value_goal, t + 1)).all(), "a waypoint lies on the way to its goal"
        actor_goal = transitions.mixed_goals(rng, t, self.actor_goals, discount=None)
        return GoalIndices(t, waypoint, waypoint - t, value_goal, actor_goal)


@dataclass(frozen=True)
class TransitionSampler:
    """Rows of one-step methods: the waypoint is the next observation, the value goal comes from a mixture (geometric within an episode)."""

    discount: float | None  # gamma of the geometric value goals; None: uniform
    value_goals: GoalMixture = GoalMixture()
    actor_goals: GoalMixture = GoalMixture()

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""
        t = transitions.draw(rng, batch_size, scenes)
        value_goal = transitions.mixed_goals(rng, t, self.value_goals, self.discount)
        actor_goal = transitions.mixed_goals(rng, t, self.actor_goals, discount=None)
        return GoalIndices(t, t + 1, np.ones_like(t), value_goal, actor_goal)
