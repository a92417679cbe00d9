"""Contrastive RL (CRL): whether a goal lies in a row's future is told by an inner product, and the policy raises it.

What is minimised is ``contrastive + actor``. The critic ``phi(s,a) . psi(g) / sqrt(D)`` is trained to tell a row's own
later frame from those of other rows (binary NCE over all pairs), so it is the log of how much likelier g is after (s,
a) than anywhere. The actor is DDPG+BC on it; or AWR, with the advantage over a second critic of the same form that
knows no action, whose contrastive loss is added. After Eysenbach et al., 2022, "Contrastive Learning as
Goal-Conditioned Reinforcement Learning", as in OGBench (Park et al., 2025).

Departures: none. Discrete actions are left out: an arm has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import Agent, CriticConfig, GoalActor, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import ACTOR_LOSSES, actor_loss, awr_loss
from mqe_core.learning.networks.contrastive import binary_nce
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class Similarity(nn.Module):
    """phi and psi, each behind an encoder of its own: ``phi . psi / sqrt(D)`` of what precedes and of goals."""

    def __init__(
        self,
        config: CRLConfig,
        observation: ObservationSpec,
        statistics: Statistics | None,
        members: int,
        action_dim: int = 0,
    ) -> None:
        super().__init__()
        self.phi_encoder, self.psi_encoder = (
            make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16) for _ in range(2)
        )
        features, latent = self.phi_encoder.out_features, config.latent_dim
        widths, norm = config.critic_widths, config.critic_layer_norm
        self.phi = EnsembleMLP(members, features + action_dim, widths, latent, norm)
        self.psi = EnsembleMLP(members, features, widths, latent, norm)

    def matrix(self, features: Tensor, goals: Tensor, *actions: Tensor) -> Tensor:
        """All pairs, of features of ``phi_encoder``: ``-> (E, B, B)``."""
        phi = self.phi(torch.cat([features, *actions], dim=-1))  # (E, B, D)
        psi = self.psi(self.psi_encoder(goals))
        return torch.einsum("eid,ejd->eij", phi, psi) / math.sqrt(phi.shape[-1])

    def forward(self, observations: Tensor, goals: Tensor, *actions: Tensor) -> Tensor:
        """Row by row, ``-> (E, B)``."""
        phi = self.phi(torch.cat([self.phi_encoder(observations), *actions], dim=-1))
        return similarity(phi, self.psi(self.psi_encoder(goals)))


class CRLAgent(Agent):
    """The critic of state-actions, with AWR also one of states, and the actor; it knows no steps_to_goal."""

    frames = ("observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: CRLConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.critic = Similarity(config, observation, statistics, config.ensemble, action_dim)
        self.value = Similarity(config, observation, statistics, 1) if config.actor_loss == "awr" else None
        self.actor = GoalActor(config, observation, action_dim, statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Binary NCE of the critic (and of V) plus the actor's loss."""
        critic_model, value_goals = self.critic, batch.frames["value_goal"]
        observations, actor_goals = batch.frames["observation"], batch.frames["actor_goal"]
        features = critic_model.phi_encoder(observations)
        critic, critic_metrics = binary_nce(critic_model.matrix(features, value_goals, batch.actions))

        chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        with torch.no_grad():
            psi_actor = critic_model.psi(critic_model.psi_encoder(actor_goals))[:, column]
        if self.value is not None:
            value, value_metrics = binary_nce(self.value.matrix(self.value.phi_encoder(observations), value_goals))
            critic = critic + value
            critic_metrics["value_contrastive_loss"] = value_metrics["contrastive_loss"]
            with torch.no_grad():
                phi = critic_model.phi(torch.cat([features, batch.actions], dim=-1))[:, row]
                advantage = similarity(phi, psi_actor).amin(0) - self.value(observations[row], actor_goals[column])[0]
            actor, actor_metrics = awr_loss(self.config, chosen, batch, advantage)
        else:
            chosen_phi = frozen(critic_model.phi, torch.cat([features.detach()[row], self.tried(chosen)], dim=-1))
            q = similarity(chosen_phi, psi_actor).amin(0)
            actor, actor_metrics = actor_loss(self.config, chosen, batch, q)
        return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), None


def similarity(phi: Tensor, psi: Tensor) -> Tensor:
    """``(..., D), (..., D) -> (...)``: the critic of each row."""
    return (phi * psi).sum(-1) / math.sqrt(phi.shape[-1])


@dataclass(frozen=True)
class CRLConfig(CriticConfig):
    """OGBench's defaults."""

    discount: float = key(0.99, "gamma: value goals lie Geom(1 - gamma) steps ahead", group="critic")
    latent_dim: int = key(512, "D: numbers in a representation", group="critic")
    actor_loss: str = key(
        "ddpgbc",
        "ddpgbc: raise the critic and clone; awr: clone, weighted by exp(alpha * (Q - V)), with a V of its own",
        choices=ACTOR_LOSSES,
        group="policy",
    )

    def sampler(self) -> TransitionSampler:
        """Geometric value goals."""
        return TransitionSampler(GoalMixture(discount=self.discount), self.actor_goals())
