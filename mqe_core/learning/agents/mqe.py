"""Multistep Quasimetric Estimation (MQE): losses, networks, update and configuration, top to bottom.

A quasimetric d measures how far a goal lies ahead: ``d((s,a), g) = d(phi(s,a), psi(g))`` and ``d(s, g) = d(psi(s), psi(g))``, in
nats; one control step costs ``-log(discount)``. Two losses fit it to offline episodes: the multistep backup pulls d((s,a), g)
towards k steps plus d(w, g) at a waypoint w, k steps ahead, and action invariance pulls d(s, (s,a)) towards zero. The actor
maximises ``-d((s, actor(s,g)), g)`` and stays close to the data.

This follows the newer official release. docs/algorithm.md maps each equation to a function here and lists every difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from mqe_core.learning.actor import (
    ActorConfig,
    Agent,
    GoalActor,
    Metrics,
    StateStatistics,
    actor_loss,
    frozen_parameters,
    named,
)
from mqe_core.learning.batch import Batch
from mqe_core.learning.config import key, require_within
from mqe_core.learning.goal_sampling import WaypointSampler
from mqe_core.learning.networks import EnsembleMLP, make_encoder
from mqe_core.learning.observations import ObservationSpec
from mqe_core.learning.quasimetric import mrn_distance, mrn_distance_matrix


def backup_loss_pairs(
    distance: Tensor, target: Tensor, waypoint_steps: Tensor, discount: float, linex_clip: float
) -> Tensor:
    """LINEX regression of every pair in the official value, ``(E, B, B), (E, B, B), (B,) -> (E, B, B)``.

    ``discount^k * exp(distance - target) - distance``, whose minimum is at ``distance = target - k log(discount)``; where
    ``distance - target`` exceeds ``linex_clip`` it is that difference instead, so a large overestimate has slope 1.
    It is evaluated as ``expm1(u) - u`` plus terms that carry no gradient, with u the distance from that minimum: the same
    value and gradient, without the loss of digits near the minimum.
    """
    log_weight = (waypoint_steps * math.log(discount))[:, None]  # (B, 1), k log(discount)
    difference = distance - target
    # Clamp before exp: autograd would turn the unused branch's inf into NaN.
    excess = difference.clamp(max=linex_clip) + log_weight
    linex = torch.expm1(excess) - excess + (1.0 - target + log_weight)
    return torch.where(difference > linex_clip, difference, linex)


def critic_loss(
    phi_sa: Tensor,
    psi_s: Tensor,
    psi_waypoint: Tensor,
    psi_goal: Tensor,
    waypoint_steps: Tensor,
    *,
    components: int,
    discount: float,
    linex_clip: float,
    diagonal_weight: float,
    invariance_weight: float = 1.0,
) -> tuple[Tensor, Metrics]:
    """Multistep backup plus action invariance; representations are ``(E, B, D)``, ``waypoint_steps`` is ``(B,)``.

    Row i's waypoint meets the goals of all rows. Gradient reaches phi_sa, psi_s and psi_goal; none reaches psi_waypoint.
    Returns the scalar loss and detached scalar metrics; ``backup_loss`` is the official value, whose minimum is not zero,
    ``backup_excess`` the same measured from its minimum (zero when every pair is consistent).
    """
    distance = mrn_distance_matrix(phi_sa, psi_goal, components)  # (E, B, B), d((s_i, a_i), g_j)
    with torch.no_grad():
        target = mrn_distance_matrix(psi_waypoint, psi_goal, components)  # d(w_i, g_j)
    pairs = backup_loss_pairs(distance, target, waypoint_steps, discount, linex_clip)
    diagonal = pairs.diagonal(dim1=1, dim2=2)  # (E, B): own goals
    backup = (1.0 - diagonal_weight) * pairs.mean() + diagonal_weight * diagonal.mean()

    # State first, state-action second: the cost of committing to the data's own action.
    invariance = mrn_distance(psi_s, phi_sa, components)  # (E, B)
    action_invariance = torch.expm1(-invariance).square().mean()

    with torch.no_grad():
        optimum = 1.0 - target + (waypoint_steps * math.log(discount))[:, None]  # the pair loss at its minimum
        clipped = distance - target > linex_clip
        excess = torch.where(clipped, pairs, pairs - optimum)
        metrics = {
            "backup_loss": backup.detach(),
            "backup_excess": (1.0 - diagonal_weight) * excess.mean()
            + diagonal_weight * excess.diagonal(dim1=1, dim2=2).mean(),
            "action_invariance_loss": action_invariance.detach(),
            "clipped_fraction": clipped.float().mean(),
            **_collapse_alarms(distance, psi_goal),
        }
    return backup + invariance_weight * action_invariance, metrics


def _collapse_alarms(distance: Tensor, psi_goal: Tensor) -> Metrics:
    """A constant representation has zero loss, so these are watched instead: ``distance (E, B, B)``, ``psi_goal (E, B, D)``."""
    rows = distance.shape[1]
    own = torch.arange(rows, device=distance.device)
    others = distance[:, ~torch.eye(rows, dtype=torch.bool, device=distance.device)]
    return {
        "distance_own_goal": distance.diagonal(dim1=1, dim2=2).mean(),
        "distance_mean": others.mean() if rows > 1 else distance.new_zeros(()),
        "distance_std": others.std() if rows > 1 else distance.new_zeros(()),
        "own_goal_accuracy": (distance.argmin(2) == own).float().mean(),
        "psi_spread": psi_goal.std(1, correction=0).mean(),
    }


class MQEAgent(Agent):
    """The networks of MQE and the loss of one batch."""

    def __init__(
        self,
        config: MQEConfig,
        observation: ObservationSpec,
        action_dim: int,
        state_statistics: StateStatistics = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        # phi and psi share one encoder, trained by the critic loss alone; the actor has its own.
        self.critic_encoder = make_encoder(config.encoder, observation, state_statistics, config.encoder_bfloat16)
        features = self.critic_encoder.out_features
        widths, members, latent = config.hidden_dims, config.ensemble, config.latent_dim
        self.phi = EnsembleMLP(members, features + action_dim, widths, latent)
        self.psi = EnsembleMLP(members, features, widths, latent)
        self.actor = GoalActor(config, observation, action_dim, state_statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum that one optimiser step descends, and scalar metrics named ``critic/...`` and ``actor/...``."""
        config = self.config
        rows = len(batch.actions)
        # One pass with gradient (observations, value goals) and one without (waypoints, actor goals).
        with_gradient = self.critic_encoder(torch.cat([batch.observations, batch.value_goals]))
        with torch.no_grad():
            without_gradient = self.critic_encoder(torch.cat([batch.waypoints, batch.actor_goals]))
            psi_waypoint, psi_actor_goal = self.psi(without_gradient).split(rows, dim=1)
        observation_features = with_gradient[:rows]
        psi_s, psi_goal = self.psi(with_gradient).split(rows, dim=1)
        phi_sa = self.phi(torch.cat([observation_features, batch.actions], dim=-1))
        critic, critic_metrics = critic_loss(
            phi_sa,
            psi_s,
            psi_waypoint,
            psi_goal,
            batch.waypoint_steps,
            components=config.components,
            discount=config.discount,
            linex_clip=config.linex_clip,
            diagonal_weight=config.diagonal_weight,
            invariance_weight=config.invariance_weight,
        )

        chosen = self.actor(batch.observations, batch.actor_goals, batch.actor_pairs)
        q = None
        if config.q_weight > 0.0:
            row, column = batch.rows_and_goals
            q = self._action_value(
                observation_features.detach()[row], chosen.mode.clamp(-1.0, 1.0), psi_actor_goal[:, column]
            )
        actor, actor_metrics = actor_loss(config, chosen, batch, q, config.q_weight)
        return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}

    def _action_value(self, observation_features: Tensor, actions: Tensor, psi_goal: Tensor) -> Tensor:
        """``min_e -d(phi_e(s, a), psi_e(g))``, ``(B,)``; gradient reaches the actions only."""
        phi = functional_call(
            self.phi, frozen_parameters(self.phi), (torch.cat([observation_features, actions], dim=-1),)
        )
        return -mrn_distance(phi, psi_goal, self.config.components).amax(0)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and ``d(psi(s), psi(g)) / -log(discount)`` averaged over the ensemble: control steps."""
        action = self.actor(observation, goal).mode.clamp(-1.0, 1.0)
        psi_s, psi_goal = self.psi(self.critic_encoder(observation)), self.psi(self.critic_encoder(goal))
        distance = mrn_distance(psi_s, psi_goal, self.config.components).mean(0)
        return action, distance / -math.log(self.config.discount)


@dataclass(frozen=True)
class MQEConfig(ActorConfig):
    """Official defaults (state-based tasks); presets for other uses are in docs/algorithm.md."""

    discount: float = key(0.995, "gamma: value goals lie Geom(1 - gamma) steps ahead, and a step costs -log(gamma)")
    lambda_: float = key(0.95, "waypoints lie Geom(1 - lambda) steps ahead, never past the value goal")
    next_state_sample: float = key(0.2, "p: probability that the waypoint is the next observation")
    q_weight: float = key(
        1.0, "weight of the Q term of the actor; 0 leaves behaviour cloning alone (the critic still trains)"
    )
    linex_clip: float = key(5.0, "t: beyond this overestimate (nats) the backup loss is linear")
    diagonal_weight: float = key(
        0.5, "w: weight of each row's own goal against all pairs (0.2-0.4 locomotion, 0.5-1 manipulation)"
    )
    invariance_weight: float = key(1.0, "weight of the action-invariance loss (an ablation; the paper knows 1 and 0)")
    latent_dim: int = key(512, "D: numbers in a representation")
    components: int = key(8, "K: chunks of the representation, each with a max half and an l2 half")
    ensemble: int = key(2, "E: independent critics")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("discount", "lambda_"), open_interval=True)
        require_within(self, ("next_state_sample", "diagonal_weight"), open_interval=False)
        for name in ("q_weight", "invariance_weight"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.alpha == 0.0 and self.q_weight == 0.0:
            raise ValueError("alpha and q_weight are both 0: the actor would learn nothing")
        if self.latent_dim % (2 * self.components) != 0:
            raise ValueError(
                f"latent_dim ({self.latent_dim}) must be a multiple of 2 * components ({2 * self.components})"
            )

    def sampler(self) -> WaypointSampler:
        """The goal sampler with this configuration's gamma, lambda and p."""
        return WaypointSampler(self.discount, self.lambda_, self.next_state_sample, self.actor_goals())
