"""Goal-conditioned behaviour cloning (GCBC): imitate the action that was taken on the way to a later frame. No critic.

What is minimised is ``-mean log pi(a | s, g)``, with goals uniform over the rest of the episode. After Ghosh et al.,
2021, "Learning to Reach Goals via Iterated Supervised Learning", as in OGBench (Park et al., 2025).

With ``actor: flow`` the same is cloned by flow matching (networks/flow.py), and deployed is what zero noise becomes.

Departures: ``alpha`` scales the loss, so that presets may serve all agents; Adam does not see it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mqe_core.learning.networks.actor import Agent, Metrics, named
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.flow import FlowActor, FlowConfig, make_actor
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import CloningSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class GCBCAgent(Agent):
    """A policy and nothing else; it knows no steps_to_goal."""

    frames = ("observation", "actor_goal")

    def __init__(
        self,
        config: GCBCConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.actor = make_actor(config, observation, action_dim, statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        if isinstance(self.actor, FlowActor):
            flow, metrics = self.actor.loss(batch)
            return flow, named("actor", metrics)
        chosen = self.actor(batch.frames["observation"], batch.frames["actor_goal"], batch.actor_pairs)
        loss, metrics = actor_loss(self.config, chosen, batch)
        return loss, named("actor", metrics)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        if isinstance(self.actor, FlowActor):
            return self.actor.candidates(observation, goal)[:, 0], None
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class GCBCConfig(FlowConfig):
    """Official defaults; alpha only scales the loss, which Adam does not see."""

    alpha: float = key(1.0, "weight of the loss", group="policy")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.actor_sees_goal:
            raise ValueError(
                "actor_sees_goal: false needs a critic that chooses; gcbc has none: mqe and gciql have one"
            )

    def sampler(self) -> CloningSampler:
        """Goals of the actor alone."""
        return CloningSampler(self.actor_goals())
