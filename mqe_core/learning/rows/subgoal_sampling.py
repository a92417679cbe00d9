"""Rows with frames some steps ahead: of n-step backups and of subgoals. The index rules are those of goal_sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.learning.rows.goal_sampling import TransitionIndex, TransitionSampler
from mqe_core.robot.arrays import Ints


@dataclass(frozen=True)
class NStepSampler(TransitionSampler):
    """A value goal, the frame n steps ahead from which its value is backed up, and an actor goal.

    ``n_step`` lies ``steps`` ahead, or at the end of the episode or at the value goal where these come first.
    """

    steps: int = 1

    def on_the_way(self, transitions: TransitionIndex, t: Ints, value_goal: Ints, actor_goal: Ints) -> dict[str, Ints]:
        n_step = np.minimum(t + self.steps, transitions.final[t])
        return {"n_step": np.where((t <= value_goal) & (value_goal < n_step), value_goal, n_step)}


@dataclass(frozen=True)
class SubgoalSampler(TransitionSampler):
    """A value goal, the subgoal ``steps`` ahead, an actor goal, and the waypoint ``steps`` ahead on the way to it.

    Neither runs past the end of the episode. The waypoint does not run past the actor goal, where that comes later in
    the episode.
    """

    steps: int = 1

    def on_the_way(self, transitions: TransitionIndex, t: Ints, value_goal: Ints, actor_goal: Ints) -> dict[str, Ints]:
        subgoal = np.minimum(t + self.steps, transitions.final[t])
        waypoint = np.where((t <= actor_goal) & (actor_goal < subgoal), actor_goal, subgoal)
        return {"next_observation": t + 1, "subgoal": subgoal, "waypoint": waypoint}
