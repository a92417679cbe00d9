"""Goal-conditioned implicit Q-learning (GCIQL): one-step values of what the data does best, and a DDPG+BC actor.

The reward is -1 per step until the goal, so V lies in [-1/(1-gamma), 0]. V is the upper expectile of Q over the data's actions,
and Q is one step's reward plus V of the next observation. As in OGBench (Park et al., 2025).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
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
from mqe_core.learning.goal_sampling import GoalMixture, TransitionSampler
from mqe_core.learning.networks import EnsembleMLP, PairEncoder
from mqe_core.learning.observations import ObservationSpec

_SMALLEST_SHARE = 1e-6  # of a value's range, above its bottom: where a goal counts as never reached


class GoalValue(nn.Module):
    """E values of observation, goal and (with ``action_dim``) action, ``-> (E, B)``, behind an encoder of its own."""

    def __init__(
        self,
        config: GCIQLConfig,
        observation: ObservationSpec,
        statistics: StateStatistics,
        members: int,
        action_dim: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = PairEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.values = EnsembleMLP(members, self.encoder.out_features + action_dim, config.hidden_dims, 1)

    def forward(self, observations: Tensor, goals: Tensor, *actions: Tensor) -> Tensor:
        return self.values(torch.cat([self.encoder(observations, goals), *actions], dim=-1)).squeeze(-1)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """``|expectile - 1(difference < 0)| * difference²``, element by element."""
    weight = torch.where(difference < 0.0, 1.0 - expectile, expectile)
    return weight * difference.square()


class GCIQLAgent(Agent):
    """V, two Q with a slowly following copy, and the actor; each has its own encoder."""

    def __init__(
        self,
        config: GCIQLConfig,
        observation: ObservationSpec,
        action_dim: int,
        state_statistics: StateStatistics = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.value = GoalValue(config, observation, state_statistics, 1)
        self.q = GoalValue(config, observation, state_statistics, 2, action_dim)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.actor = GoalActor(config, observation, action_dim, state_statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum of the losses of V, Q and actor."""
        config = self.config
        with torch.no_grad():
            target = self.target_q(batch.observations, batch.value_goals, batch.actions).amin(0)
            next_value = self.value(batch.waypoints, batch.value_goals)[0]  # the waypoint is the next observation
            q_target = torch.where(batch.at_value_goal, 0.0, -1.0 + config.discount * next_value)
        value = self.value(batch.observations, batch.value_goals)[0]
        value_loss = expectile_loss(target - value, config.expectile).mean()
        q = self.q(batch.observations, batch.value_goals, batch.actions)
        q_loss = (q - q_target).square().sum(0).mean()

        chosen = self.actor(batch.observations, batch.actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        chosen_q = functional_call(
            self.q,
            frozen_parameters(self.q),
            (batch.observations[row], batch.actor_goals[column], chosen.mode.clamp(-1.0, 1.0)),
        ).amin(0)
        actor, metrics = actor_loss(config, chosen, batch, chosen_q)
        critic = {"value_loss": value_loss, "q_loss": q_loss, "value_mean": value.mean()}
        return value_loss + q_loss + actor, {
            **named("critic", {k: v.detach() for k, v in critic.items()}),
            **named("actor", metrics),
        }

    @torch.no_grad()
    def after_update(self) -> None:
        """The copy follows Q."""
        for copied, parameter in zip(self.target_q.parameters(), self.q.parameters()):
            copied.lerp_(parameter, self.config.target_rate)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and the steps k for which V = -(1 - gamma^k) / (1 - gamma)."""
        action = self.actor(observation, goal).mode.clamp(-1.0, 1.0)
        remaining = 1.0 + (1.0 - self.config.discount) * self.value(observation, goal)[0]  # gamma^k
        return action, remaining.clamp(_SMALLEST_SHARE, 1.0).log() / math.log(self.config.discount)


@dataclass(frozen=True)
class GCIQLConfig(ActorConfig):
    """OGBench's defaults, but for alpha, which it sets per task (0.003 to 1)."""

    discount: float = key(0.99, "gamma: of the values, and of the geometric value goals")
    expectile: float = key(0.9, "kappa: V is this expectile of Q")
    target_rate: float = key(0.005, "tau: share by which the copy of Q follows it at every update")
    value_goal_current: float = key(0.2, "probability that a value goal is the frame itself")
    value_goal_trajectory: float = key(0.5, "probability that it is a later frame of the episode, geometrically")
    value_goal_random: float = key(0.3, "probability that it is any frame of the data")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_within(self, ("discount", "expectile", "target_rate"), open_interval=True)
        self.sampler()

    def sampler(self) -> TransitionSampler:
        """One-step rows with the mixture of value goals."""
        value_goals = GoalMixture(self.value_goal_current, self.value_goal_trajectory, self.value_goal_random)
        return TransitionSampler(self.discount, value_goals, self.actor_goals())
