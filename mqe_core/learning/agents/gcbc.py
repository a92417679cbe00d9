"""Goal-conditioned behaviour cloning (GCBC): imitate the action that was taken on the way to a later frame. No critic.

As in OGBench (Park et al., 2025): ``-mean log pi(a | s, g)``, goals uniform over the rest of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mqe_core.learning.actor import ActorConfig, Agent, GoalActor, Metrics, StateStatistics, actor_loss, named
from mqe_core.learning.batch import Batch
from mqe_core.learning.config import key
from mqe_core.learning.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.observations import ObservationSpec


class GCBCAgent(Agent):
    """A policy and nothing else; it knows no steps_to_goal."""

    def __init__(
        self,
        config: GCBCConfig,
        observation: ObservationSpec,
        action_dim: int,
        state_statistics: StateStatistics = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.actor = GoalActor(config, observation, action_dim, state_statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        chosen = self.actor(batch.observations, batch.actor_goals, batch.actor_pairs)
        loss, metrics = actor_loss(self.config, chosen, batch)
        return loss, named("actor", metrics)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        return self.actor(observation, goal).mode.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class GCBCConfig(ActorConfig):
    """Official defaults; alpha only scales the loss, which Adam does not see."""

    alpha: float = key(1.0, "weight of the loss")

    def sampler(self) -> TransitionSampler:
        """Goals of the actor; waypoints and value goals (here the frame itself) are not used."""
        return TransitionSampler(None, GoalMixture(current=1.0, trajectory=0.0), self.actor_goals())
