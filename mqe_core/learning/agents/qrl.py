"""Quasimetric RL (QRL): a distance in steps that is as large as one step between neighbours allows.

What is minimised is ``value + dual + dynamics + actor``. ``d(s, g)`` is a quasimetric (IQE, or an MRN) of the
representations of s and g. Random pairs are pushed apart, softly up to 500 steps, under the constraint that neighbours
in the data are at most one step apart; the multiplier lambda of the constraint is learned as its dual. A model f
predicts the next representation, and the actor (DDPG+BC) lowers the distance from ``z + f(z, a)``; with AWR there is no
model, and actions weigh by how much nearer they led. After Wang et al., 2023, "Optimal Goal-Reaching Reinforcement
Learning via Quasimetric Learning", as in OGBench (Park et al., 2025).

Departures: OGBench's MRN is at least 1e-6 between equal points, here 0, as a distance is. Discrete actions are left
out: an arm has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.actor import Agent, GoalActor, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import ACTOR_LOSSES, actor_loss, awr_loss
from mqe_core.learning.networks.encoders import make_encoder
from mqe_core.learning.networks.heads import HEADS, HalvesSwapped, Head, HeadConfig
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key

FAR = 500.0  # steps, up to which random pairs are pushed apart
SOFTNESS = 100.0  # steps


class QRLAgent(Agent):
    """Representation, quasimetric, model (with DDPG+BC), multiplier and actor."""

    frames = ("observation", "next_observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: QRLConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.critic_encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        features, widths, latent = self.critic_encoder.out_features, config.critic_widths, config.latent_dim
        norm = config.critic_layer_norm
        self.phi = EnsembleMLP(1, features, widths, latent, norm)
        self.head = config.make_head()
        self.dynamics = (
            EnsembleMLP(1, latent + action_dim, widths, latent, norm) if config.actor_loss == "ddpgbc" else None
        )
        self.log_multiplier = nn.Parameter(torch.zeros(()))
        self.actor = GoalActor(config, observation, action_dim, statistics)
        if config.encoder_shared:
            share_encoder(self.critic_encoder, self.actor)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Distance, dual and model, plus the actor's loss."""
        config, rows = self.config, len(batch.actions)
        names = ("observation", "next_observation", "value_goal")
        z, z_next, z_goal = self._represent(torch.cat([batch.frames[name] for name in names])).split(rows)
        multiplier = self.log_multiplier.exp()
        apart = SOFTNESS * F.softplus((FAR - self.head(z, z_goal)) / SOFTNESS)
        beyond_a_step = (self.head(z, z_next) - 1.0).relu().square().mean()
        value_loss = apart.mean() + multiplier.detach() * beyond_a_step
        dual_loss = multiplier * (config.slack - beyond_a_step.detach())
        critic = {
            "value_loss": value_loss,
            "apart_loss": apart.mean(),
            "beyond_a_step": beyond_a_step,
            "dual_loss": dual_loss,
            "multiplier": multiplier,
        }
        loss = value_loss + dual_loss

        actor_goals = batch.frames["actor_goal"]
        chosen = self.actor(batch.frames["observation"], actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        with torch.no_grad():
            z_actor_goal = self._represent(actor_goals)[column]
        if self.dynamics is None:
            with torch.no_grad():
                gain = self.head(z[row], z_actor_goal) - self.head(z_next[row], z_actor_goal)
            actor, actor_metrics = awr_loss(config, chosen, batch, gain)
        else:
            predicted = z + self.dynamics(torch.cat([z, batch.actions], dim=-1))[0]
            dynamics_loss = 0.5 * (self.head(z_next, predicted) + self.head(predicted, z_next)).mean()
            loss, critic["dynamics_loss"] = loss + dynamics_loss, dynamics_loss
            z_row = z.detach()[row]
            change = frozen(self.dynamics, torch.cat([z_row, self.tried(chosen)], dim=-1))[0]
            q = -frozen(self.head, z_row + change, z_actor_goal)
            actor, actor_metrics = actor_loss(config, chosen, batch, q)
        return loss + actor, {
            **named("critic", {name: value.detach() for name, value in critic.items()}),
            **named("actor", actor_metrics),
        }

    def _represent(self, observations: Tensor) -> Tensor:
        return self.phi(self.critic_encoder(observations))[0]  # (B, D)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and the distance, which is in steps."""
        return self.actor(observation, goal).mean.clamp(-1.0, 1.0), self.steps_to_goal(observation, goal)

    def steps_to_goal(self, observation: Tensor, goal: Tensor) -> Tensor:
        return self.head(self._represent(observation), self._represent(goal))


@dataclass(frozen=True)
class QRLConfig(HeadConfig):
    """OGBench's defaults; it sets alpha per task (0.0003 to 0.3)."""

    can_share_encoder = True

    alpha: float = key(0.003, "weight of cloning in ddpgbc; inverse temperature of the weights in awr", group="policy")
    actor_loss: str = key(
        "ddpgbc",
        "ddpgbc: lower the distance from where a model says the action leads, and clone; awr: clone what gains",
        choices=ACTOR_LOSSES,
        group="policy",
    )
    ensemble: int = key(1, "E: one representation, and no other number", group="critic")
    discount: float = key(0.99, "gamma: of geometric goals, where there are any; the distance has none")
    slack: float = key(0.05, "epsilon: how far beyond a step neighbours may be (mean square)", group="critic")
    head: str = key(
        "iqe",
        "the quasimetric: iqe (intervals), mrn (OGBench's, the l2 half first), mrn_paper (MQE's equation 4)",
        choices=HEADS,
        group="critic",
    )
    components: int = key(1, "K: chunks of the representation, in an MRN", group="critic")
    value_goal_current: float = key(0.0, "probability that a value goal is the frame itself", group="goals")
    value_goal_trajectory: float = key(0.0, "probability that it is a later frame of the episode", group="goals")
    value_goal_geometric: bool = key(
        True, "that frame lies Geom(1 - discount) steps ahead; else anywhere in the rest of the episode", group="goals"
    )
    value_goal_random: float = key(1.0, "probability that it is any frame of the data", group="goals")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ensemble != 1:
            raise ValueError(f"QRL has one representation: ensemble must be 1, got {self.ensemble}")
        self.sampler()

    def make_head(self, *, divided: bool = False, smoothing: float = 0.0) -> Head:
        """The head; OGBench's MRN is not divided by sqrt(D)."""
        head = super().make_head(divided=divided, smoothing=smoothing)
        return HalvesSwapped(head) if self.head == "mrn" else head

    def sampler(self) -> TransitionSampler:
        """One-step rows; value goals are any frames of the data."""
        value_goals = GoalMixture(
            self.value_goal_current,
            self.value_goal_trajectory,
            self.value_goal_random,
            discount=self.discount if self.value_goal_geometric else None,
        )
        return TransitionSampler(value_goals, self.actor_goals())
