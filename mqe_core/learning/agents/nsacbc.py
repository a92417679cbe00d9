"""n-step soft actor-critic with behaviour cloning (nSAC+BC): the chance of reaching a goal, backed up over n steps.

What is minimised is ``critic + actor + entropy + cloning``. ``sigmoid(Q(s, g, a))`` is gamma to the power of the steps
to the goal: 1 at the goal, else gamma^n times its value n steps ahead under the policy's own action, by a copy that
follows slowly (binary cross entropy; or Q itself, squared). The actor is a Gaussian squashed by tanh; it raises Q and
its entropy, whose weight lambda is learned, and stays close to the data. After Park et al., 2025, "Horizon Reduction
Makes RL Scalable" (agent ngcsacbc), the n-step baseline of MQE's paper.

Departures: none in the update. A row counts as a success where its backup ends at the goal; there also where it ends
with the episode, which calls a quarter of short episodes' rows with other goals reached. By default the policy has no
LayerNorm and its goals are from the episode, as in MQE's copy; the preset ``ogbench_state`` has both as there.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.actor import LOG_STD, Agent, Metrics, frozen, named
from mqe_core.learning.networks.convolutions import xavier_init
from mqe_core.learning.networks.encoders import PairEncoder
from mqe_core.learning.networks.layers import gelu
from mqe_core.learning.networks.values import REWARDS, GoalValue, ValueConfig, follow, steps_of_value
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.rows.subgoal_sampling import NStepSampler
from mqe_core.learning.run.config import key


class SoftActor(nn.Module):
    """Mean and deviation, before tanh, of observation and goal: ``(B, ...), (B, ...) -> (B, A), (B, A)``."""

    def __init__(
        self, config: NSACBCConfig, observation: ObservationSpec, action_dim: int, statistics: Statistics | None
    ) -> None:
        super().__init__()
        self.encoder = PairEncoder(
            config.encoder, observation, statistics, config.encoder_bfloat16, config.actor_fusion
        )
        widths = [self.encoder.out_features, *config.hidden_dims]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(
            nn.LayerNorm(b, eps=1e-6) if config.actor_layer_norm else nn.Identity() for b in widths[1:]
        )
        self.mean, self.log_std = (nn.Linear(widths[-1], action_dim) for _ in range(2))
        for layer in (*self.hidden, self.mean, self.log_std):
            layer.apply(xavier_init)
        with torch.no_grad():
            for layer in (self.mean, self.log_std):
                layer.weight.mul_(0.1)  # variance scale 1e-2
        self.log_stds: nn.Parameter | None = None
        if config.actor_learns_std:
            del self.log_std
            self.log_stds = nn.Parameter(torch.zeros(action_dim))

    def forward(self, observations: Tensor, goals: Tensor, pairs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.encoder(observations, goals, pairs)
        for linear, norm in zip(self.hidden, self.norms):
            x = norm(gelu(linear(x)))
        mean = self.mean(x)
        log_std = self.log_std(x) if self.log_stds is None else self.log_stds.expand_as(mean)
        return mean, log_std.clamp(*LOG_STD).exp()


def drawn(mean: Tensor, std: Tensor, noise: Tensor, squash: bool) -> tuple[Tensor, Tensor]:
    """``mean + std * noise (B, A)``, squashed by tanh or not, and the logarithm of its density ``(B,)``."""
    x = mean + std * noise
    log_prob = -0.5 * noise.square() - std.log() - 0.5 * math.log(2.0 * math.pi)
    if not squash:
        return x, log_prob.sum(-1)
    log_slope = 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))  # of tanh
    return x.tanh(), (log_prob - log_slope).sum(-1)


class NSACBCAgent(Agent):
    """Q with a slowly following copy, the weight of the entropy, and the actor."""

    frames = ("observation", "n_step", "value_goal", "actor_goal")

    def __init__(
        self,
        config: NSACBCConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        if config.landmark_weight > 0.0:
            raise ValueError("landmark_weight: the policy of nsacbc predicts no landmarks; set it to 0")
        self.config, self.discount = config, config.discount
        self.q = GoalValue(config, observation, statistics, config.ensemble, action_dim)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.log_entropy_weight = nn.Parameter(torch.zeros(()))
        self.target_entropy = -config.entropy_per_action * action_dim
        self.actor = SoftActor(config, observation, action_dim, statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum of the losses of Q, actor and entropy weight."""
        config = self.config
        observations, n_step, goals = (batch.frames[name] for name in ("observation", "n_step", "value_goal"))
        steps = batch.steps["n_step"]
        reached = batch.steps["value_goal"] == steps
        with torch.no_grad():
            mean, std = self.actor(n_step, goals)
            next_actions, _ = drawn(mean, std, self.noise(mean), config.actor_squashed)
            next_q = self.target_q(n_step, goals, next_actions)
            target = self._backed_up(next_q if config.q_loss == "squared" else next_q.sigmoid(), steps, reached)
        q = self.q(observations, goals, batch.actions)  # (E, B), logits with bce
        if config.q_loss == "squared":
            q_loss = (q - target).square().mean()
        else:
            q_loss = F.binary_cross_entropy_with_logits(q, target.expand_as(q))

        (row, column), weights = batch.rows_and_goals, batch.pair_weights
        actor_goals = batch.frames["actor_goal"]
        mean, std = self.actor(observations, actor_goals, batch.actor_pairs)
        actions, log_prob = drawn(mean, std, self.noise(mean), config.actor_squashed)
        chosen_q = frozen(self.q, observations[row], actor_goals[column], actions).mean(0)  # (P,)
        entropy_weight = self.log_entropy_weight.exp()
        soft_loss = ((entropy_weight.detach() * log_prob - chosen_q) * weights).sum()
        entropy = -(log_prob.detach() * weights).sum()
        entropy_loss = entropy_weight * (entropy - self.target_entropy)
        bc_loss = config.alpha * ((actions - batch.actions[row]).square().sum(-1) * weights).sum()
        scaled_bc_loss = (chosen_q.detach().abs() * weights).sum() * bc_loss

        actor = {"soft_loss": soft_loss, "entropy_loss": entropy_loss, "bc_loss": bc_loss}
        actor |= {"scaled_bc_loss": scaled_bc_loss, "entropy": entropy, "entropy_weight": entropy_weight}
        critic = {"q_loss": q_loss, "q_mean": q.mean(), "reached_fraction": reached.float().mean()}
        return q_loss + soft_loss + entropy_loss + scaled_bc_loss, {
            **named("critic", {name: value.detach() for name, value in critic.items()}),
            **named("actor", {name: value.detach() for name, value in actor.items()}),
        }

    def _backed_up(self, next_q: Tensor, steps: Tensor, reached: Tensor) -> Tensor:
        """The target ``(B,)`` of Q: ``next_q (E, B)``, that many ``steps`` ahead, and the reward on the way there."""
        value = next_q.amin(0) if self.config.q_aggregation == "min" else next_q.mean(0)
        share = self.config.discount**steps
        if self.config.reward == "at_goal":
            return (share * torch.where(reached, 1.0, value)).clamp(0.0, 1.0)
        most = 1.0 / (1.0 - self.config.discount)
        return (-most * (1.0 - share) + share * torch.where(reached, 0.0, value)).clamp(-most, 0.0)

    def before_update(self) -> None:
        """The copy follows Q as it was before the update."""
        follow(self.target_q, self.q, self.config.target_rate)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's most central action, and the steps k for which its mean value is gamma^k."""
        mean = self.actor(observation, goal)[0]
        action = mean.tanh() if self.config.actor_squashed else mean.clamp(-1.0, 1.0)
        q = self.q(observation, goal, action)
        if self.config.q_loss == "squared":
            return action, steps_of_value(q.mean(0), self.config)
        return action, F.logsigmoid(q).mean(0) / math.log(self.config.discount)


@dataclass(frozen=True)
class NSACBCConfig(ValueConfig):
    """Defaults of the official code, but for its rows (see above); n is 50 in MQE's copy."""

    discount: float = key(0.999, "gamma: of the values, and of geometric goals", group="critic")
    reward: str = key(
        "at_goal",
        "at_goal: 1 there, 0 before; per_step (with q_loss: squared): -1 until the goal (official gc_negative: true)",
        choices=REWARDS,
        group="critic",
    )
    actor_goal_geometric: bool = key(
        True, "that frame lies Geom(1 - discount) steps ahead; else anywhere in the rest of the episode", group="goals"
    )
    value_goal_geometric: bool = key(
        False, "that frame lies Geom(1 - discount) steps ahead; else anywhere in the rest of the episode", group="goals"
    )
    actor_squashed: bool = key(True, "tanh squashes the policy's actions; else they are clipped", group="policy")
    actor_learns_std: bool = key(
        False,
        "learn one deviation for each number of an action (official state_dependent_std: false); else by a network",
        group="policy",
    )
    q_loss: str = key(
        "bce",
        "bce: sigmoid(Q) is the value, by binary cross entropy; squared: Q is",
        choices=("bce", "squared"),
        group="critic",
    )
    backup_steps: int = key(25, "n: steps over which a value is backed up", group="critic")
    q_aggregation: str = key(
        "min", "of the members' values, in the target of Q: min or mean", choices=("min", "mean"), group="critic"
    )
    entropy_per_action: float = key(
        0.5, "minus the entropy that lambda aims at, for each number of an action", group="policy"
    )

    def __post_init__(self) -> None:
        if self.backup_steps < 1:
            raise ValueError(f"backup_steps must be at least 1, got {self.backup_steps}")
        if self.reward == "per_step" and self.q_loss == "bce":
            raise ValueError("reward: per_step has values below 0, which are no chances: set q_loss to squared")
        super().__post_init__()

    def sampler(self) -> NStepSampler:
        """Rows with the frame n steps ahead."""
        return NStepSampler(self.value_goals(), self.actor_goals(), self.backup_steps)
