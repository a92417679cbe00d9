"""Temporal representation alignment (TRA): representations of a frame and of what follows it are aligned, and a policy
imitates on them.

What is minimised is ``alignment_weight * alignment + cloning``. A symmetric InfoNCE loss makes phi(s) and psi(g)
similar where g is a later frame of s's episode and not where it is another row's. The policy sees the goal through psi
alone: from images by FiLM of its own encoder (the paper's robot version), from states beside phi(s). There is no Q.
After Myers et al., 2025, "Temporal Representation Alignment", as in its OGBench release.

As in that release the alignment term is divided by the rows of a batch: it is the sum of the two cross entropies over
B, where a mean of the two is usual. Its ``repr_stopgrad`` and ``alpha`` change nothing there, as no line reads them.
Departures: the representation has its own size, 64 by default, so that it does not depend on the robot;
``representation_dim=0`` gives it the observation's, as the release does for states. ``alpha`` weighs the cloning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.actor import (
    ActionDistribution,
    ActionHead,
    Agent,
    CriticConfig,
    Metrics,
    named,
)
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.encoders import FilmedEncoder, make_encoder, make_image_encoder
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class Representation(nn.Module):
    """``(B, ...) -> (E, B, D)`` behind an encoder of its own."""

    def __init__(self, config: TRAConfig, observation: ObservationSpec, statistics: Statistics | None) -> None:
        super().__init__()
        self.encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.mlp = EnsembleMLP(
            config.ensemble,
            self.encoder.out_features,
            config.representation_dims,
            config.representation_dim or observation.state_dim,
            config.critic_layer_norm,
        )

    def forward(self, observations: Tensor) -> Tensor:
        return self.mlp(self.encoder(observations))


def alignment_loss(phi: Tensor, psi: Tensor) -> tuple[Tensor, Metrics]:
    """Symmetric InfoNCE of ``(E, B, D)`` and ``(E, B, D)``: the cross entropies over rows and over columns, added, as a
    mean over the ensemble, divided by B. Its metrics hold the usual scale, the mean of the two.
    """
    members, rows, width = phi.shape
    logits = torch.einsum("eid,ejd->eij", phi, psi) / math.sqrt(width)
    own = torch.arange(rows, device=phi.device).expand(members, rows)
    forward = F.cross_entropy(logits.flatten(0, 1), own.flatten())
    backward = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), own.flatten())
    accuracy = (logits.argmax(2) == own).float().mean()
    return (forward + backward) / rows, {
        "alignment": ((forward + backward) / 2).detach(),
        "own_goal_accuracy": accuracy,
    }


class TRAAgent(Agent):
    """phi, psi and the policy on them; it knows no steps_to_goal."""

    frames = ("observation", "value_goal", "actor_goal")
    policies = ("actor", "actor_encoder")

    def __init__(
        self,
        config: TRAConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.phi = Representation(config, observation, statistics)
        self.psi = Representation(config, observation, statistics)
        self.pixels = observation.kind == "pixels"
        if not (config.representation_dim or observation.state_dim):
            raise ValueError("representation_dim: 0 is the size of a state; from pixels give a number")
        width = config.representation_dim or observation.state_dim
        if self.pixels:
            encoder = make_image_encoder(config.encoder, 3, observation.image_size, config.encoder_bfloat16)
            self.actor_encoder = FilmedEncoder(encoder, width)
            width = encoder.out_features
        else:
            width = 2 * width
        self.actor = ActionHead(config, width, action_dim)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Alignment on the value goals plus behaviour cloning on the actor goals, whose gradient reaches psi (and phi,
        from states).
        """
        config = self.config
        observations = batch.frames["observation"]
        phi = self.phi(observations)
        goals = self.psi(torch.cat([batch.frames["value_goal"], batch.frames["actor_goal"]]))
        psi, psi_actor = goals.split(len(batch.actions), dim=1)
        alignment, critic = alignment_loss(phi, psi)
        size = phi.square().mean() + psi.square().mean()
        contrastive = alignment + config.size_weight * size
        row, column = batch.rows_and_goals
        chosen = self._choose(observations[row], phi[:, row], psi_actor[:, column])
        actor, metrics = actor_loss(config, chosen, batch)
        critic["contrastive_loss"] = contrastive.detach()
        return config.alignment_weight * contrastive + actor, {**named("critic", critic), **named("actor", metrics)}

    def _choose(self, observations: Tensor, phi: Tensor, psi: Tensor) -> ActionDistribution:
        if self.pixels:
            return self.actor(self.actor_encoder(observations, psi.mean(0)))
        return self.actor(torch.cat([phi.mean(0), psi.mean(0)], dim=-1))

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        phi = torch.zeros(0) if self.pixels else self.phi(observation)
        return self._choose(observation, phi, self.psi(goal)).mean.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class TRAConfig(CriticConfig):
    """Official defaults, but for ``representation_dim``, 0 there."""

    alpha: float = key(1.0, "weight of the behaviour-cloning loss", group="policy")
    discount: float = key(0.99, "gamma: value goals lie Geom(1 - gamma) steps ahead", group="critic")
    alignment_weight: float = key(
        1.0, "weight of the InfoNCE loss (which is divided by the batch size), the representations' size included"
    )
    size_weight: float = key(1e-6, "weight of the mean squared representations within that loss")
    representation_dims: tuple[int, ...] = key((64, 64, 64), "hidden widths of phi and psi")
    representation_dim: int = key(64, "numbers in a representation; 0: as many as a state has (official)")

    def sampler(self) -> TransitionSampler:
        """Geometric value goals."""
        return TransitionSampler(GoalMixture(discount=self.discount), self.actor_goals())
