"""Which frames make a training row: the transition, its waypoint, the value goal and the actor goal.

All index rules are those of the official code on compact data. An episode stores frames s_0 ... s_L; the last one has
no action, so the valid transitions are s_0 ... s_{L-1} and ``final(t)``, the last frame that can be a goal or a
waypoint of the geometric and uniform rules, is s_{L-1}. s_L is only ever a next observation. At t = final(t) the goal
is the frame itself, zero steps away. What is proposed to a policy (``AHEAD``) may be s_L, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mqe_core.robot.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class GoalIndices:
    """Frame numbers of B training rows, ``(B,)`` under each name: "observation", and what else a sampler draws."""

    frames: Mapping[str, Ints]

    def __post_init__(self) -> None:
        assert len({frames.shape for frames in self.frames.values()}) == 1, "every name has one frame per transition"

    @property
    def observation(self) -> Ints:
        """``(B,)``: the frames whose actions are learned."""
        return self.frames["observation"]

    def steps_to(self, name: str) -> Ints:
        """``(B,)``: from the observation to the named frame, where both lie in one episode."""
        return self.frames[name] - self.observation


@dataclass(frozen=True)
class GoalMixture:
    """How a goal is drawn: the frame itself, a later frame of its episode, where an episode of its scene ends, or any
    of the data; sums to 1.

    The later frame lies Geom(1 - ``discount``) steps ahead, or anywhere where there is no discount.
    """

    current: float = 0.0
    trajectory: float = 1.0
    random: float = 0.0
    scene: float = 0.0
    discount: float | None = None

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
        valid: Bools,
        episode_ends: Ints,
        scene_ends: Ints | None = None,
        stopping: Bools | None = None,
        weights: Floats | None = None,
    ) -> None:
        """``valid (N,) bool``: the frame has an action and a successor; ``episode_ends (E,)``: exclusive ends,
        increasing.

        ``scene_ends (S,)``: the same for scenes, runs of episodes that were recorded one after the other on one table;
        by default each episode is one. ``stopping (N,) bool``: frames that meet no scene goal of a later episode, as
        the demonstrator comes to rest there, which is no step towards that goal; by default none. ``weights (N,)``,
        above 0: how likely each frame begins a row; by default all alike.
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
        self._summed = None if weights is None else np.concatenate([[0.0], np.cumsum(weights[self.indices])])

    def ahead(self, frames: Ints, steps: int) -> Ints:
        """What is seen so many steps after these valid frames, or where their episode ends; of their shape."""
        return np.minimum(frames + steps, self.final[frames] + 1)

    def _last_valid(self, ends: Ints, frames: int) -> Ints:
        """(N,): the last valid frame at or before the end of each frame's stretch; only defined, and only used, for
        valid frames.
        """
        stretch_of = np.searchsorted(ends, np.arange(frames), side="right")
        last_valid_before_end = np.searchsorted(self.indices, ends, side="left") - 1
        return self.indices[np.maximum(last_valid_before_end, 0)][stretch_of]

    def scene(self, frames: Ints) -> Ints:
        """The number of each frame's scene, in the store's order."""
        return self._scene[frames]

    def draw(self, rng: np.random.Generator, count: int, scenes: int = 0) -> Ints:
        """``count`` valid frames, uniformly or by their weights, with replacement; with ``scenes`` from the scenes of
        so many of such frames, equally from each.

        A scene is as likely as it is long, so every frame is as likely as any other of its weight.
        """
        if scenes == 0:
            return self._anywhere(rng, count)
        chosen = self._scene[self._anywhere(rng, scenes)]
        first, end = self._scene_bounds[chosen], self._scene_bounds[chosen + 1]  # positions in indices
        return self._among(rng, np.resize(first, count), np.resize(end, count))

    def _anywhere(self, rng: np.random.Generator, count: int) -> Ints:
        """``count`` valid frames."""
        if self._summed is None:
            return self.indices[rng.integers(len(self.indices), size=count)]
        return self._among(rng, np.zeros(count, dtype=np.int64), np.full(count, len(self.indices)))

    def _among(self, rng: np.random.Generator, first: Ints, end: Ints) -> Ints:
        """A valid frame of each range of positions in ``indices``, (n,) and (n,)."""
        if self._summed is None:
            return self.indices[rng.integers(first, end)]
        low, high = self._summed[first], self._summed[end]
        drawn = np.searchsorted(self._summed, low + rng.random(len(first)) * (high - low), side="right") - 1
        return self.indices[np.clip(drawn, first, end - 1)]  # a sum may round up to its end

    def geometric_goals(self, rng: np.random.Generator, t: Ints, discount: float) -> Ints:
        """``min(t + Geom(1 - discount), final(t))``, steps counted from 1."""
        return np.minimum(t + rng.geometric(1.0 - discount, size=t.shape), self.final[t])

    def uniform_goals(self, rng: np.random.Generator, t: Ints) -> Ints:
        """``round(min(t + 1, final) * u + final * (1 - u))``: both ends have half the weight of the frames between."""
        final = self.final[t]
        u = rng.random(t.shape)
        return np.rint(np.minimum(t + 1, final) * u + final * (1.0 - u)).astype(np.int64)

    def scene_goals(self, rng: np.random.Generator, t: Ints) -> Ints:
        """The last valid frame of t's episode or of a later one of its scene, each as likely: pictures as an operator
        takes them.
        """
        last_goal = np.where(self._stopping[t], self.final[t], self._scene_final[t])
        first, last = np.searchsorted(self._finals, self.final[t]), np.searchsorted(self._finals, last_goal)
        return self._finals[rng.integers(first, last + 1)]

    def mixed_goals(self, rng: np.random.Generator, t: Ints, mixture: GoalMixture) -> Ints:
        """Goals of a mixture."""
        if mixture.current == 1.0:
            return t.copy()
        discount = mixture.discount
        goals = self.uniform_goals(rng, t) if discount is None else self.geometric_goals(rng, t, discount)
        if mixture.random > 0.0:
            from_trajectory = rng.random(t.shape) < mixture.trajectory / (mixture.trajectory + mixture.random)
            anywhere = self.indices[rng.integers(len(self.indices), size=len(t))]
            goals = np.where(from_trajectory, goals, anywhere)
        if mixture.scene > 0.0:
            goals = np.where(
                rng.random(t.shape) < mixture.scene / (1.0 - mixture.current), self.scene_goals(rng, t), goals
            )
        if mixture.current > 0.0:
            goals = np.where(rng.random(t.shape) < mixture.current, t, goals)
        return goals

    def crossed_pairs(self, observations: Ints, goals: Ints) -> Ints:
        """``(B,), (B,) -> (P, 2)``: rows, and rows whose goal comes later in the first one's scene, each picture once;
        the own goal always.
        """
        own = np.arange(len(observations))
        goals, first, same = np.unique(goals, return_index=True, return_inverse=True)
        t = observations[:, None]
        later = (self._scene[t] == self._scene[goals]) & (t < goals) & ~(self._stopping[t] & (goals > self.final[t]))
        later[own, same] = True
        row, goal = np.nonzero(later)
        return np.stack([row, first[goal]], axis=1)


class Sampler(Protocol):
    """How an agent's rows are drawn."""

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""


WAYPOINTS = ("geometric", "uniform", "fixed")
AHEAD = "ahead"  # of a row, what is seen `proposal_steps` later


@dataclass(frozen=True)
class WaypointSampler:
    """MQE's rows: a geometric value goal, a waypoint on the way to it, and an actor goal from its own mixture.

    With K steps to the value goal, the waypoint lies ahead by Geom(1 - ``lambda_``), by a uniform number of 1 to
    ``waypoint_steps`` (0: to K), or by ``waypoint_steps`` themselves, but never by more than K.
    """

    discount: float  # gamma: value goals are Geom(1 - gamma) steps ahead
    lambda_: float
    next_state_sample: float  # p: probability that the waypoint is the next observation, one step ahead
    actor_goals: GoalMixture = GoalMixture()
    waypoint: str = "geometric"  # one of WAYPOINTS
    waypoint_steps: int = 0
    proposal_steps: int = 0  # how far ahead the frame AHEAD lies, never past the episode's end; 0: there is none

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""
        t = transitions.draw(rng, batch_size, scenes)
        value_goal = transitions.geometric_goals(rng, t, self.discount)
        waypoint = np.minimum(t + self._steps_ahead(rng, value_goal - t), value_goal)
        # The one-step waypoint is the next observation, so at the last valid frame it is s_L, one step past the goal.
        waypoint = np.where(rng.random(batch_size) < self.next_state_sample, t + 1, waypoint)
        # The one waypoint past its goal is the next observation of an episode's last transition.
        assert ((t <= waypoint) & (waypoint <= np.maximum(value_goal, t + 1))).all(), "it lies on the way to its goal"
        actor_goal = transitions.mixed_goals(rng, t, self.actor_goals)
        frames = {"observation": t, "waypoint": waypoint, "value_goal": value_goal, "actor_goal": actor_goal}
        if self.proposal_steps:
            frames[AHEAD] = transitions.ahead(t, self.proposal_steps)
        return GoalIndices(frames)

    def _steps_ahead(self, rng: np.random.Generator, goal_steps: Ints) -> Ints:
        """Steps to the waypoint, before the value goal caps them, from those to the goal."""
        if self.waypoint == "geometric":
            return rng.geometric(1.0 - self.lambda_, size=goal_steps.shape)
        if self.waypoint == "fixed":
            return np.full_like(goal_steps, self.waypoint_steps)
        return rng.integers(1, np.maximum(self.waypoint_steps or goal_steps, 1) + 1, size=goal_steps.shape)


@dataclass(frozen=True)
class TransitionSampler:
    """Rows of one-step methods: the next observation, a value goal and an actor goal."""

    value_goals: GoalMixture = GoalMixture()
    actor_goals: GoalMixture = GoalMixture()

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""
        t = transitions.draw(rng, batch_size, scenes)
        value_goal = transitions.mixed_goals(rng, t, self.value_goals)
        actor_goal = transitions.mixed_goals(rng, t, self.actor_goals)
        goals = {"value_goal": value_goal, "actor_goal": actor_goal}
        return GoalIndices({"observation": t, **goals, **self.on_the_way(transitions, t, value_goal, actor_goal)})

    def on_the_way(self, transitions: TransitionIndex, t: Ints, value_goal: Ints, actor_goal: Ints) -> dict[str, Ints]:
        """The row's other frames, ``(B,)`` each."""
        return {"next_observation": t + 1}


@dataclass(frozen=True)
class CloningSampler:
    """Rows of imitation: an actor goal, and nothing else."""

    actor_goals: GoalMixture = GoalMixture()

    def sample(
        self, transitions: TransitionIndex, rng: np.random.Generator, batch_size: int, scenes: int = 0
    ) -> GoalIndices:
        """Draw ``batch_size`` rows, from ``scenes`` scenes or (0) from all."""
        t = transitions.draw(rng, batch_size, scenes)
        return GoalIndices({"observation": t, "actor_goal": transitions.mixed_goals(rng, t, self.actor_goals)})
