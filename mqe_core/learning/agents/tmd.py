"""Temporal metric distillation (TMD): MQE's quasimetric from a contrastive loss and one-step backups.

What is minimised is ``contrastive + invariance + zeta * backup + actor``, for ``d((s,a), g) = d(phi(s,a), psi(g))`` and
``d(s, g) = d(psi(s), psi(g))`` in nats. The contrastive loss asks whose row a goal is (softmax over rows of ``-d /
sqrt(D)``); action invariance is ``d(s, (s,a)) -> 0``; the backup of d((s,a), g) towards one step plus d(s', g) is MQE's
with the next observation as the waypoint. The actor is DDPG+BC on -d. After Myers et al., 2025, "Offline
Goal-Conditioned Reinforcement Learning with Quasimetric Representations", as in its release.

The paper weighs invariance by zeta as well, the release the backup alone. The MRN has 1e-6 below its root and is not
divided by sqrt(D); the IQE's mix gets no gradient, also as there. Departures: none but the form in which the backup is
evaluated, which keeps its digits. Discrete actions, which never ran there, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.agents.mqe import backup_loss_pairs
from mqe_core.learning.networks.actor import ActionDistribution, ActionHead, Agent, GoalActor, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.contrastive import infonce_over_rows
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.heads import HeadConfig
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key, require_within

SMOOTHING = 1e-6


class PsiActor(nn.Module):
    """The policy on representations: of the members' means of psi(s) and psi(g), ``(E, B, D), (E, B, D)``."""

    def __init__(self, config: TMDConfig, action_dim: int) -> None:
        super().__init__()
        self.head = ActionHead(config, 2 * config.latent_dim, action_dim)

    def forward(self, psi_s: Tensor, psi_goal: Tensor) -> ActionDistribution:
        return self.head(torch.cat([psi_s.mean(0), psi_goal.mean(0)], dim=-1))


class TMDAgent(Agent):
    """phi and psi behind one encoder, and the actor."""

    frames = ("observation", "next_observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: TMDConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.critic_encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        features, members, latent = self.critic_encoder.out_features, config.ensemble, config.latent_dim
        widths, norm = config.critic_widths, config.critic_layer_norm
        self.phi = EnsembleMLP(members, features + action_dim, widths, latent, norm)
        self.psi = EnsembleMLP(members, features, widths, latent, norm)
        self.head = config.make_head(divided=False, smoothing=SMOOTHING)
        self.head.requires_grad_(False)  # the release sends no gradient to IQE's mix
        self.actor = (
            PsiActor(config, action_dim)
            if config.actor_sees_psi
            else GoalActor(config, observation, action_dim, statistics)
        )
        if config.encoder_shared:
            share_encoder(self.critic_encoder, self.actor)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Contrastive loss, invariance and weighted backup, plus the actor's loss."""
        config, rows = self.config, len(batch.actions)
        observations, actor_goals = batch.frames["observation"], batch.frames["actor_goal"]
        with_gradient = self.critic_encoder(torch.cat([observations, batch.frames["value_goal"]]))
        features = with_gradient[:rows]
        psi_s, psi_goal = self.psi(with_gradient).split(rows, dim=1)
        phi_sa = self.phi(torch.cat([features, batch.actions], dim=-1))
        with torch.no_grad():
            others = self.critic_encoder(torch.cat([batch.frames["next_observation"], actor_goals]))
            psi_next, psi_actor_goal = self.psi(others).split(rows, dim=1)
            target = self.head.matrix(psi_next, psi_goal)  # (E, B, B), d(s'_i, g_j)
        distance = self.head.matrix(phi_sa, psi_goal)  # d((s_i, a_i), g_j)
        contrastive, critic_metrics = infonce_over_rows(-distance / math.sqrt(config.latent_dim))

        backed_up = self.head.matrix(phi_sa, psi_goal.detach()) if config.stop_psi_in_backup else distance
        pairs = backup_loss_pairs(
            backed_up, target, torch.ones_like(batch.actions[:, 0]), config.discount, config.linex_clip
        )
        weight = config.diagonal_weight
        backup = (1.0 - weight) * pairs.mean() + weight * pairs.diagonal(dim1=1, dim2=2).mean()
        invariance = self.head(psi_s, phi_sa.detach() if config.stop_phi_in_invariance else phi_sa).mean()
        critic = contrastive + invariance + config.backup_weight * backup
        critic_metrics |= {
            "backup_loss": backup.detach(),
            "action_invariance_loss": invariance.detach(),
            "clipped_fraction": (distance - target > config.linex_clip).float().mean(),
            "distance_own_goal": distance.detach().diagonal(dim1=1, dim2=2).mean(),
            "distance_mean": distance.detach().mean(),
        }

        row, column = batch.rows_and_goals
        if config.actor_sees_psi:
            psi_actor = self.psi(self.critic_encoder(actor_goals)) if config.actor_trains_psi else psi_actor_goal
            start = psi_s if config.actor_trains_psi else psi_s.detach()
            chosen = self.actor(start[:, row], psi_actor[:, column])
        else:
            chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        chosen_phi = frozen(self.phi, torch.cat([features.detach()[row], self.tried(chosen)], dim=-1))
        q = -frozen(self.head, chosen_phi, psi_actor_goal[:, column]).amax(0)
        actor, actor_metrics = actor_loss(self.config, chosen, batch, q)
        return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and ``d(psi(s), psi(g)) / -log(discount)`` averaged over the ensemble: control steps."""
        psi_s, psi_goal = self.psi(self.critic_encoder(observation)), self.psi(self.critic_encoder(goal))
        sees_psi = self.config.actor_sees_psi
        chosen = self.actor(psi_s, psi_goal) if sees_psi else self.actor(observation, goal)
        return chosen.mean.clamp(-1.0, 1.0), self._steps(psi_s, psi_goal)

    def steps_to_goal(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self._steps(self.psi(self.critic_encoder(observation)), self.psi(self.critic_encoder(goal)))

    def _steps(self, psi_s: Tensor, psi_goal: Tensor) -> Tensor:
        return self.head(psi_s, psi_goal).mean(0) / -math.log(self.config.discount)


@dataclass(frozen=True)
class TMDConfig(HeadConfig):
    """Defaults of the official release; the copy beside MQE has backup_weight 0.2, linex_clip 5, stop_psi_in_backup."""

    can_share_encoder = True

    discount: float = key(
        0.99, "gamma: value goals lie Geom(1 - gamma) steps ahead, and a step costs -log(gamma)", group="critic"
    )
    backup_weight: float = key(0.05, "zeta: weight of the one-step backup", group="critic")
    linex_clip: float = key(3.0, "t: beyond this overestimate (nats) the backup loss is linear", group="critic")
    diagonal_weight: float = key(
        0.5, "weight of each row's own goal against all pairs, in the backup loss", group="critic"
    )
    stop_psi_in_backup: bool = key(False, "no gradient of the backup loss reaches psi(g)", group="critic")
    stop_phi_in_invariance: bool = key(False, "none of action invariance reaches phi(s, a)", group="critic")
    actor_sees_psi: bool = key(
        False, "the policy sees psi of observation and goal (official use_latent), not what psi sees", group="policy"
    )
    actor_trains_psi: bool = key(
        True, "where it does, its gradient reaches psi (false: official freeze_enc_for_actor_grad)", group="policy"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("diagonal_weight",), open_interval=False)

    def sampler(self) -> TransitionSampler:
        """Geometric value goals and next observations."""
        return TransitionSampler(GoalMixture(discount=self.discount), self.actor_goals())
