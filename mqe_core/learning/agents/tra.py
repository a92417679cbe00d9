"""Temporal representation alignment (TRA): representations of a frame and of what follows it are aligned, and a policy imitates on them.

A symmetric InfoNCE loss makes phi(s) and psi(g) similar where g is a later frame of s's episode and not where it is another row's. The
policy sees the goal through psi alone: from images by FiLM of its own encoder (the paper's robot version), from states beside phi(s).
There is no Q. After Myers et al., 2025, "Temporal Representation Alignment".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.actor import (
    ActionDistribution,
    ActionHead,
    ActorConfig,
    Agent,
    Metrics,
    StateStatistics,
    actor_loss,
    named,
)
from mqe_core.learning.batch import Batch
from mqe_core.learning.config import key, require_within
from mqe_core.learning.goal_sampling import TransitionSampler
from mqe_core.learning.networks import EnsembleMLP, FilmedEncoder, make_encoder
from mqe_core.learning.observations import ObservationSpec


class Representation(nn.Module):
    """``(B, ...) -> (E, B, D)`` behind an encoder of its own."""

    def __init__(self, config: TRAConfig, observation: ObservationSpec, statistics: StateStatistics) -> None:
        super().__init__()
        self.encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.mlp = EnsembleMLP(
            config.ensemble, self.encoder.out_features, config.representation_dims, config.representation_dim
        )

    def forward(self, observations: Tensor) -> Tensor:
        return self.mlp(self.encoder(observations))


def alignment_loss(phi: Tensor, psi: Tensor) -> tuple[Tensor, Metrics]:
    """Symmetric InfoNCE of ``(E, B, D)`` and ``(E, B, D)`` over B, divided by 2 B as in the official release, and its accuracy."""
    members, rows, width = phi.shape
    logits = torch.einsum("eid,ejd->eij", phi, psi) / math.sqrt(width)
    own = torch.arange(rows, device=phi.device).expand(members, rows)
    forward = F.cross_entropy(logits.flatten(0, 1), own.flatten())
    backward = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), own.flatten())
    accuracy = (logits.argmax(2) == own).float().mean()
    return (forward + backward) / (2 * rows), {
        "alignment": ((forward + backward) / 2).detach(),
        "own_goal_accuracy": accuracy,
    }


class TRAAgent(Agent):
    """phi, psi and the policy on them; it knows no steps_to_goal."""

    def __init__(
        self, config: TRAConfig, observation: ObservationSpec, action_dim: int, state_statistics: StateStatistics = None
    ) -> None:
        super().__init__()
        self.config = config
        self.phi = Representation(config, observation, state_statistics)
        self.psi = Representation(config, observation, state_statistics)
        self.pixels = observation.kind == "pixels"
        width = config.representation_dim
        if self.pixels:
            encoder = make_encoder(config.encoder, observation, None, config.encoder_bfloat16)
            self.actor_encoder = FilmedEncoder(encoder, width)
            width = encoder.out_features
        else:
            width = 2 * width
        self.actor = ActionHead(config, width, action_dim)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Alignment on the value goals plus behaviour cloning on the actor goals, whose gradient reaches psi (and phi, from states)."""
        config = self.config
        phi = self.phi(batch.observations)
        goals = self.psi(torch.cat([batch.value_goals, batch.actor_goals]))
        psi, psi_actor = goals.split(len(batch.actions), dim=1)
        alignment, critic = alignment_loss(phi, psi)
        size = phi.square().mean() + psi.square().mean()
        row, column = batch.rows_and_goals
        chosen = self._choose(batch.observations[row], phi[:, row], psi_actor[:, column])
        actor, metrics = actor_loss(config, chosen, batch)
        loss = config.alignment_weight * alignment + config.size_weight * size + actor
        return loss, {**named("critic", critic), **named("actor", metrics)}

    def _choose(self, observations: Tensor, phi: Tensor, psi: Tensor) -> ActionDistribution:
        if self.pixels:
            return self.actor(self.actor_encoder(observations, psi.mean(0)))
        return self.actor(torch.cat([phi.mean(0), psi.mean(0)], dim=-1))

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, None]:
        phi = torch.zeros(0) if self.pixels else self.phi(observation)
        return self._choose(observation, phi, self.psi(goal)).mode.clamp(-1.0, 1.0), None


@dataclass(frozen=True)
class TRAConfig(ActorConfig):
    """Official defaults, but for the representation's size, which is the observation's there."""

    alpha: float = key(1.0, "weight of the behaviour-cloning loss")
    discount: float = key(0.99, "gamma: value goals lie Geom(1 - gamma) steps ahead")
    alignment_weight: float = key(1.0, "weight of the InfoNCE loss (which is divided by the batch size)")
    size_weight: float = key(1e-6, "weight of the mean squared representations")
    representation_dims: tuple[int, ...] = key((64, 64, 64), "hidden widths of phi and psi")
    representation_dim: int = key(64, "numbers in a representation")
    ensemble: int = key(2, "independent pairs of phi and psi")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("discount",), open_interval=True)

    def sampler(self) -> TransitionSampler:
        """Geometric value goals; the waypoints are not used."""
        return TransitionSampler(self.discount, actor_goals=self.actor_goals())
