"""An agent of one's own: behaviour cloning in which near goals weigh more than far ones.

loss = -sum_i w_i log pi(a_i | s_i, g_i) / sum_i w_i,  w_i = goal_discount ^ (control steps from s_i to g_i)
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mqe_core.learning.networks.actor import ActorConfig, Agent, GoalActor, Metrics
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import CloningSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class NearCloningAgent(Agent):
    """A policy without a critic, so without `steps_to_goal`."""

    frames = ("observation", "actor_goal")  # of each row the sampler draws; others are not loaded

    def __init__(
        self,
        config: NearCloningConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.actor = GoalActor(config, observation, action_dim, statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        chosen = self.actor(batch.frames["observation"], batch.frames["actor_goal"])
        weights = self.config.goal_discount ** batch.steps["actor_goal"]  # (B,)
        loss = -(weights * chosen.log_prob(batch.actions)).sum() / weights.sum()
        return loss, {"actor/bc_loss": loss.detach(), "actor/mean_weight": weights.mean()}

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        """What the bundle computes: an action (B, 7) in [-1, 1], and steps to the goal (B,) or None."""
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class NearCloningConfig(ActorConfig):
    """The keys of every policy, and one more. Each has its meaning beside it, for `mqe train --show-config`."""

    goal_discount: float = key(0.95, "weight of a goal for each control step that it is away", group="policy")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.goal_discount <= 1.0:
            raise ValueError(f"goal_discount must lie in (0, 1], got {self.goal_discount}")

    def sampler(self) -> CloningSampler:
        """How rows are drawn: a frame, and a later frame of its episode as the goal."""
        return CloningSampler(self.actor_goals())
