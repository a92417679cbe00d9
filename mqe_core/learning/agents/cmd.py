"""Contrastive metric distillation (CMD): a quasimetric between state-actions, trained by telling futures apart.

What is minimised is ``contrastive + actor``. One network f serves both sides: ``d((s,a), (g,a'))`` is the MRN distance
of f(s,a) and f(g,a'), where a' is any action, here that of the row before. ``-d / sqrt(D)`` is trained as the logit
that g lies in the row's future (binary NCE over all pairs). The actor is DDPG+BC on -d. After Myers et al., 2024,
"Learning Temporal Distances: Contrastive Successor Features Can Provide a Metric Structure for Decision-Making", as in
the release of TMD.

Departures: none. The MRN has the release's halves and 1e-6 below its root, and is not divided by sqrt(D). Discrete
actions are left out: an arm has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mqe_core.learning.networks.actor import Agent, GoalActor, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.contrastive import binary_nce
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.heads import HeadConfig
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key

SMOOTHING = 1e-6


class CMDAgent(Agent):
    """f behind one encoder, and the actor; it knows no steps_to_goal."""

    frames = ("observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: CMDConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.critic_encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        inputs = self.critic_encoder.out_features + action_dim
        self.phi = EnsembleMLP(
            config.ensemble, inputs, config.critic_widths, config.latent_dim, config.critic_layer_norm
        )
        self.head = config.make_head(divided=False, smoothing=SMOOTHING)
        self.actor = GoalActor(config, observation, action_dim, statistics)
        if config.encoder_shared:
            share_encoder(self.critic_encoder, self.actor)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Binary NCE of the distance plus the actor's loss."""
        observations, actor_goals = batch.frames["observation"], batch.frames["actor_goal"]
        any_action = batch.actions.roll(1, 0)  # of a goal: the row before took it
        features, goals = self.critic_encoder(torch.cat([observations, batch.frames["value_goal"]])).chunk(2)
        start = self.phi(torch.cat([features, batch.actions], dim=-1))  # (E, B, D)
        goal = self.phi(torch.cat([goals, any_action], dim=-1))
        logits = -self.head.matrix(start, goal) / math.sqrt(self.config.latent_dim)
        critic, critic_metrics = binary_nce(logits)

        chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        with torch.no_grad():
            actor_goal = self.phi(torch.cat([self.critic_encoder(actor_goals), any_action], dim=-1))
        chosen_start = frozen(self.phi, torch.cat([features.detach()[row], self.tried(chosen)], dim=-1))
        q = -frozen(self.head, chosen_start, actor_goal[:, column]).amax(0)
        actor, actor_metrics = actor_loss(self.config, chosen, batch, q)
        return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class CMDConfig(HeadConfig):
    """Official defaults."""

    can_share_encoder = True

    discount: float = key(0.99, "gamma: value goals lie Geom(1 - gamma) steps ahead", group="critic")

    def sampler(self) -> TransitionSampler:
        """Geometric value goals."""
        return TransitionSampler(GoalMixture(discount=self.discount), self.actor_goals())
