"""Multistep Quasimetric Estimation (MQE): losses, networks, update and configuration, top to bottom.

A quasimetric d measures how far a goal lies ahead: ``d((s,a), g) = d(phi(s,a), psi(g))`` and ``d(s, g) = d(psi(s),
psi(g))``, in nats; one control step costs ``-log(discount)``. What is minimised is ``backup + invariance + actor``: the
multistep backup pulls d((s,a), g) towards k steps plus d(w, g) at a waypoint w, k steps ahead; action invariance pulls
d(s, (s,a)) towards zero; the actor raises ``-d((s, actor(s,g)), g)`` and stays close to the data (DDPG+BC). With
``actor: flow`` it is cloned alone, and d((s,a), g) chooses one of its candidates (networks/flow.py, choice.py); with
``proposal_steps`` d(s', g) chooses where it goes next (networks/proposals.py).

After "Scaling Goal-conditioned Reinforcement Learning with Multistep Quasimetric Distances" (arXiv 2511.07730), as the
newer official release has it. Departures: the loss is evaluated in a form that keeps its digits, d(x, x) is exactly 0,
and the one-step waypoint is drawn by the sampler. docs/algorithm.md maps each equation to a function here and lists
every difference, also between paper and release; the paper's ablations are options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mqe_core.learning.networks.actor import Agent, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import actor_loss
from mqe_core.learning.networks.choice import Choice, choose
from mqe_core.learning.networks.critic_contrast import ContrastConfig, Origin, contrast_loss
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.flow import FlowActor, make_actor
from mqe_core.learning.networks.heads import MRN, Head
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.networks.proposals import ProposalConfig, ProposalFlow, actions_towards
from mqe_core.learning.networks.scene_distance import SceneDistance
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.networks.values import expectile_pairs
from mqe_core.learning.pairs.all_pairs import collapse_alarms, mean_backup_loss
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import AHEAD, WAYPOINTS, WaypointSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key, require_within


def backup_loss_pairs(
    distance: Tensor, target: Tensor, waypoint_steps: Tensor, discount: float, linex_clip: float
) -> Tensor:
    """LINEX regression of every pair in the official value, ``(E, B, B), (E, B, B), (B,) -> (E, B, B)``.

    ``discount^k * exp(distance - target) - distance``, whose minimum is at ``distance = target - k log(discount)``;
    where ``distance - target`` exceeds ``linex_clip`` it is that difference instead, so a large overestimate has slope
    1. It is evaluated as ``expm1(u) - u`` plus terms that carry no gradient, with u the distance from that minimum: the
    same value and gradient, without the loss of digits near the minimum.
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
    expectile: float = 0.0,
    head: Head | None = None,
) -> tuple[Tensor, Metrics]:
    """Multistep backup plus action invariance; representations are ``(E, B, D)``, ``waypoint_steps`` is ``(B,)``.

    Row i's waypoint meets the goals of all rows. Gradient reaches phi_sa, psi_s and psi_goal; none reaches
    psi_waypoint. Returns the scalar loss and detached scalar metrics; ``backup_loss`` is the official value, whose
    minimum is not zero, ``backup_excess`` the same measured from its minimum (zero when every pair is consistent).

    ``expectile``: where not 0, :func:`expectile_pairs` takes the place of action invariance. ``head``: the quasimetric,
    the official MRN of so many ``components`` where it is not given.
    """
    head = head or MRN(components)
    distance = head.matrix(phi_sa, psi_goal)  # (E, B, B), d((s_i, a_i), g_j)
    with torch.no_grad():
        target = head.matrix(psi_waypoint, psi_goal)  # d(w_i, g_j)
    log_weight = waypoint_steps * math.log(discount)
    # The mean of backup_loss_pairs and its gradient, in one pass.
    backup, excess, clipped = mean_backup_loss(distance, target, log_weight, linex_clip, diagonal_weight)
    if expectile:
        linked = _over_pairs(expectile_pairs(head.matrix(psi_s, psi_goal), distance, expectile), diagonal_weight)
        link = {"expectile_loss": linked.detach()}
    else:
        # State first, state-action second: the cost of committing to the data's own action.
        linked = torch.expm1(-head(psi_s, phi_sa)).square().mean()
        link = {"action_invariance_loss": linked.detach()}

    metrics = {
        "backup_loss": backup.detach(),
        "backup_excess": excess,
        **link,
        "clipped_fraction": clipped,
        **collapse_alarms(distance.detach(), psi_goal.detach()),
    }
    return backup + invariance_weight * linked, metrics


def _over_pairs(pairs: Tensor, diagonal_weight: float) -> Tensor:
    """The mean of ``(E, B, B)``, in which a row's own goal has a weight of its own."""
    own = pairs.diagonal(dim1=1, dim2=2)  # (E, B)
    return (1.0 - diagonal_weight) * pairs.mean() + diagonal_weight * own.mean()


class MQEAgent(Agent):
    """The networks of MQE and the loss of one batch."""

    frames: tuple[str, ...] = ("observation", "waypoint", "value_goal", "actor_goal")
    policies = ("actor", "proposals")

    def __init__(
        self,
        config: MQEConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.candidates = config.choices
        self.head = config.make_head()
        # phi and psi share one encoder, trained by the critic loss alone; the actor has its own, if not told otherwise.
        self.critic_encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        features = self.critic_encoder.out_features
        widths, members, latent = config.critic_widths, config.ensemble, config.latent_dim
        self.phi = EnsembleMLP(members, features + action_dim, widths, latent, config.critic_layer_norm)
        self.psi = EnsembleMLP(members, features, widths, latent, config.critic_layer_norm)
        self.actor = make_actor(config, observation, action_dim, statistics)
        self.proposals: ProposalFlow | None = None
        if config.proposal_steps:
            self.frames = (*self.frames, AHEAD)
            self.proposals = ProposalFlow(config, observation, statistics)
        if config.encoder_shared:
            share_encoder(self.critic_encoder, self.actor)
        self.scenes = SceneDistance(members, features, widths) if config.scene_distance else None

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum that one optimiser step descends, and scalar metrics named ``critic/...`` and ``actor/...``."""
        config = self.config
        rows = len(batch.actions)
        observations, actor_goals = batch.frames["observation"], batch.frames["actor_goal"]
        # One pass with gradient (observations, value goals) and one without (waypoints, actor goals).
        with_gradient = self.critic_encoder(torch.cat([observations, batch.frames["value_goal"]]))
        with torch.no_grad():
            without_gradient = self.critic_encoder(torch.cat([batch.frames["waypoint"], actor_goals]))
            psi_waypoint, psi_actor_goal = self.psi(without_gradient).split(rows, dim=1)
        observation_features = with_gradient[:rows]
        psi_s, psi_goal = self.psi(with_gradient).split(rows, dim=1)
        phi_sa = self.phi(torch.cat([observation_features, config.judged(batch.actions)], dim=-1))
        critic, critic_metrics = critic_loss(
            phi_sa, psi_s, psi_waypoint, psi_goal, batch.steps["waypoint"], components=config.components,
            discount=config.discount, linex_clip=config.linex_clip, diagonal_weight=config.diagonal_weight,
            invariance_weight=config.invariance_weight, expectile=config.expectile, head=self.head,
        )  # fmt: skip
        if config.contrasts:
            contrast, contrast_metrics = contrast_loss(
                config, self.head, self.phi, observation_features, batch.actions, phi_sa, psi_s, psi_goal,
                Origin.of(batch),
            )  # fmt: skip
            critic, critic_metrics = critic + contrast, {**critic_metrics, **contrast_metrics}
        if self.scenes is not None:
            same = Origin.of(batch).same_scene()
            scenes = self.scenes.loss(observation_features, with_gradient[rows:], same, self.noise)
            critic, critic_metrics["scene_distance"] = critic + scenes, scenes.detach()

        if isinstance(self.actor, FlowActor):
            actor, actor_metrics = self.actor.loss(batch)
            return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}
        chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        q = None
        if config.q_weight > 0.0 and self.proposals is None:
            row, column = batch.rows_and_goals
            q = self.action_value(observation_features.detach()[row], self.tried(chosen), psi_actor_goal[:, column])
        actor, actor_metrics = actor_loss(config, chosen, batch, q, config.q_weight, config.normalise_q)
        if self.proposals is not None:
            proposals, proposal_metrics = self.proposals.loss(batch)
            actor, actor_metrics = actor + proposals, {**actor_metrics, **proposal_metrics}
        return critic + actor, {**named("critic", critic_metrics), **named("actor", actor_metrics)}

    def action_value(self, observation_features: Tensor, actions: Tensor, psi_goal: Tensor) -> Tensor:
        """``min_e -d(phi_e(s, a), psi_e(g))``, ``(B,)``; gradient reaches the actions only."""
        phi = frozen(self.phi, torch.cat([observation_features, actions], dim=-1))
        return -frozen(self.head, phi, psi_goal).amax(0)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, or the chosen candidate, and the control steps to the goal."""
        if self.candidates > 1 or isinstance(self.actor, FlowActor):
            choice = self.chosen(observation, goal)
            return choice.action, choice.steps_to_goal
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), self.steps_to_goal(observation, goal)

    def steps_to_goal(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self._steps(self.critic_encoder(observation), self.critic_encoder(goal))

    def _steps(self, features: Tensor, goal_features: Tensor) -> Tensor:
        """``d(psi(s), psi(g)) / -log(discount)`` averaged over the ensemble, or the scenes' steps where more."""
        steps = self.head(self.psi(features), self.psi(goal_features)).mean(0) / -math.log(self.config.discount)
        return steps if self.scenes is None else torch.maximum(steps, self.scenes(features, goal_features))

    def chosen(self, observation: Tensor, goal: Tensor, last: Tensor | None = None) -> Choice:
        """The candidate of the least ``max_e d(phi_e(s, a), psi_e(g))``, or the action towards the subgoal of the least
        ``max_e d(psi_e(s'), psi_e(g))``; distances in control steps.
        """
        features, goal_features = self.critic_encoder(observation), self.critic_encoder(goal)
        psi_goal = self.psi(goal_features)
        if self.proposals is not None:
            subgoals = self.proposals(observation)  # (B, N, S)
            ahead = self.psi(self.critic_encoder(subgoals.flatten(0, 1))).unflatten(1, subgoals.shape[:2])
            candidates = actions_towards(self.actor, observation, subgoals)
        else:
            assert isinstance(self.actor, FlowActor), "one mean is no choice"
            candidates = self.actor.candidates(observation, goal)
            ahead = self.phi.of_candidates(features, candidates)  # (E, B, N, D)
        distances = self.head(ahead, psi_goal[:, :, None]).amax(0) / -math.log(self.config.discount)
        steps = self._steps(features, goal_features)
        return choose(candidates, distances, last, self.config.choice_margin, steps)


@dataclass(frozen=True)
class MQEConfig(ProposalConfig, ContrastConfig):
    """Official defaults (state-based tasks); presets for other uses are in docs/algorithm.md."""

    can_share_encoder = True

    discount: float = key(
        0.995, "gamma: value goals lie Geom(1 - gamma) steps ahead, and a step costs -log(gamma)", group="critic"
    )
    lambda_: float = key(0.95, "waypoints lie Geom(1 - lambda) steps ahead, never past the value goal", group="goals")
    next_state_sample: float = key(0.2, "p: probability that the waypoint is the next observation", group="goals")
    waypoint: str = key(
        "geometric",
        "how far ahead it lies else (ablations): geometric; uniform, of 1 to waypoint_steps; fixed, waypoint_steps",
        choices=WAYPOINTS,
        group="goals",
    )
    waypoint_steps: int = key(0, "steps of uniform and fixed waypoints; 0: uniform up to the value goal", group="goals")
    q_weight: float = key(
        1.0,
        "weight of the Q term of the actor; 0, as with proposal_steps, leaves cloning alone (the critic still trains)",
        group="policy",
    )
    normalise_q: bool = key(True, "divide the Q term by the mean absolute q of the batch (as official)", group="policy")
    linex_clip: float = key(5.0, "t: beyond this overestimate (nats) the backup loss is linear", group="critic")
    diagonal_weight: float = key(
        0.5,
        "w: weight of each row's own goal against all pairs (0.2-0.4 locomotion, 0.5-1 manipulation)",
        group="critic",
    )
    invariance_weight: float = key(
        1.0, "weight of the action-invariance loss (an ablation; the paper knows 1 and 0)", group="critic"
    )
    expectile: float = key(
        0.0,
        "kappa: in place of action invariance V is this expectile of Q (ablation); 0: invariance",
        group="critic",
    )

    def __post_init__(self) -> None:
        if self.head == "mrn" and self.latent_dim % (2 * max(self.components, 1)):
            raise ValueError(
                f"latent_dim ({self.latent_dim}) must be a multiple of 2 * components ({2 * self.components})"
            )
        super().__post_init__()
        require_within(self, ("lambda_",), open_interval=True)
        require_within(self, ("next_state_sample", "diagonal_weight"), open_interval=False)
        for name in ("q_weight", "invariance_weight", "waypoint_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0.0 <= self.expectile < 1.0:
            raise ValueError(f"expectile must lie in [0, 1), got {self.expectile}")
        if self.waypoint == "fixed" and self.waypoint_steps == 0:
            raise ValueError("waypoint: fixed needs waypoint_steps, how far ahead it lies")
        if self.waypoint == "geometric" and self.waypoint_steps:
            raise ValueError("waypoint_steps is of waypoint: uniform and fixed; those that are geometric have lambda_")

    def sampler(self) -> WaypointSampler:
        """The goal sampler with this configuration's gamma, lambda and p."""
        return WaypointSampler(
            self.discount,
            self.lambda_,
            self.next_state_sample,
            self.actor_goals(),
            self.waypoint,
            self.waypoint_steps,
            self.proposal_steps,
        )
