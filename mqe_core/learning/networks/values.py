"""Values of goals, learned by expectiles: the networks, the losses, and how a copy follows them.

The reward is -1 per step until the goal, so a value lies in [-1/(1-gamma), 0]; or 1 at the goal and 0 before, so it
lies in [0, 1] (``reward``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import CriticConfig
from mqe_core.learning.networks.encoders import PairEncoder
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.rows.goal_sampling import GoalMixture, Sampler, TransitionSampler
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key, require_within

REWARDS = ("per_step", "at_goal")
_SMALLEST_SHARE = 1e-6  # of a value's range, above its bottom: where a goal counts as never reached


@dataclass(frozen=True)
class ValueConfig(CriticConfig):
    """Keys of the agents that learn values of goals with a slowly following copy, with OGBench's defaults."""

    discount: float = key(0.99, "gamma: of the values, and of geometric goals", group="critic")
    reward: str = key(
        "per_step",
        "per_step: -1 until the goal, 0 there; at_goal: 1 there, 0 before (official gc_negative: false)",
        choices=REWARDS,
        group="critic",
    )
    target_rate: float = key(0.005, "tau: share by which the critic's copy follows it at every update", group="critic")
    value_goal_current: float = key(0.2, "probability that a value goal is the frame itself", group="goals")
    value_goal_trajectory: float = key(0.5, "probability that it is a later frame of the episode", group="goals")
    value_goal_geometric: bool = key(
        True, "that frame lies Geom(1 - discount) steps ahead; else anywhere in the rest of the episode", group="goals"
    )
    value_goal_random: float = key(0.3, "probability that it is any frame of the data", group="goals")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("target_rate",), open_interval=True)
        self.sampler()

    def value_goals(self) -> GoalMixture:
        """How the value goals are drawn."""
        return GoalMixture(
            self.value_goal_current,
            self.value_goal_trajectory,
            self.value_goal_random,
            discount=self.discount if self.value_goal_geometric else None,
        )

    def sampler(self) -> Sampler:
        """One-step rows with the mixture of value goals."""
        return TransitionSampler(self.value_goals(), self.actor_goals())


@dataclass(frozen=True)
class ImplicitValueConfig(ValueConfig):
    """Keys of the agents whose V is an expectile."""

    expectile: float = key(0.9, "kappa: V is this expectile of Q", group="critic")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("expectile",), open_interval=True)


class GoalValue(nn.Module):
    """E values of observation, goal and (with ``action_dim``) action, ``-> (E, B)``, behind an encoder of its own."""

    def __init__(
        self,
        config: CriticConfig,
        observation: ObservationSpec,
        statistics: Statistics | None,
        members: int,
        action_dim: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = PairEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        inputs = self.encoder.out_features + action_dim
        self.values = EnsembleMLP(members, inputs, config.critic_widths, 1, config.critic_layer_norm)

    def forward(self, observations: Tensor, goals: Tensor, *actions: Tensor) -> Tensor:
        return self.values(torch.cat([self.encoder(observations, goals), *actions], dim=-1)).squeeze(-1)

    def of_candidates(self, observations: Tensor, goals: Tensor, candidates: Tensor) -> Tensor:
        """``(E, B, N)``, of N actions ``(B, N, A)`` for each pair."""
        return self.values.of_candidates(self.encoder(observations, goals), candidates).squeeze(-1)


def expectile_loss(difference: Tensor, expectile: float, sign: Tensor | None = None) -> Tensor:
    """``|expectile - 1(sign < 0)| * difference²``, element by element; ``sign`` is the difference where not given."""
    weight = torch.where((difference if sign is None else sign) < 0.0, 1.0 - expectile, expectile)
    return weight * difference.square()


def one_step_target(next_values: Tensor, at_goal: Tensor, config: ValueConfig) -> Tensor:
    """``(..., B), (B,) bool -> (..., B)``: the goal's reward there, else one step's and the discounted next value."""
    if config.reward == "at_goal":
        return torch.where(at_goal, 1.0, config.discount * next_values)
    return torch.where(at_goal, 0.0, -1.0 + config.discount * next_values)


def implicit_value_loss(
    values: Tensor, copy_values: Tensor, copy_next_values: Tensor, at_goal: Tensor, config: ImplicitValueConfig
) -> Tensor:
    """Implicit V-learning (IVL): the sum over E of the mean expectile losses of ``values (E, B)``.

    Each member regresses on the one-step target of its own slowly following copy, ``copy_next_values (E, B)``. All
    weigh a row alike: by the sign of the copies' advantage, the target of their smallest next value less their mean
    ``copy_values (E, B)``. No gradient reaches the copies' values.
    """
    with torch.no_grad():
        targets = one_step_target(copy_next_values, at_goal, config)
        advantage = one_step_target(copy_next_values.amin(0), at_goal, config) - copy_values.mean(0)
    return expectile_loss(targets - values, config.expectile, advantage).mean(1).sum()


def steps_of_value(value: Tensor, config: ValueConfig) -> Tensor:
    """The steps k for which the value is ``-(1 - gamma^k) / (1 - gamma)``, or ``gamma^k``."""
    remaining = value if config.reward == "at_goal" else 1.0 + (1.0 - config.discount) * value  # gamma^k
    return remaining.clamp(_SMALLEST_SHARE, 1.0).log() / math.log(config.discount)


@torch.no_grad()
def follow(copied: nn.Module, module: nn.Module, rate: float) -> None:
    """Move each parameter of the copy by the share ``rate`` towards the module's."""
    for target, parameter in zip(copied.parameters(), module.parameters()):
        target.lerp_(parameter, rate)


def expectile_pairs(state_distance: Tensor, action_distance: Tensor, expectile: float) -> Tensor:
    """V(s_i) of g_j regressed on the upper expectile of Q(s_i, a_i), of ``d(s_i, g_j), d((s_i, a_i), g_j)``, all ``(E,
    B, B)``: ``|kappa - 1(Q < V)| (Q - V)^2`` with ``V = exp(-d)``, Q alike and without gradient.

    It takes the place of action invariance in the paper's ablation, whose code is not published: this is our reading.
    """
    return expectile_loss((-action_distance.detach()).exp() - (-state_distance).exp(), expectile)
