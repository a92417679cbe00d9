"""Goal-conditioned implicit V-learning (GCIVL): values of what the data does best; the policy imitates what gains.

What is minimised is ``value + actor``. V has no action: it is the upper expectile of the reward plus V of the next
observation, as a copy that follows slowly knows it. The policy imitates actions weighted by exp(alpha * (V(s',g) -
V(s,g))) (AWR). The reward is -1 per step until the goal. After OGBench (Park et al., 2025), which takes the value half
of HIQL (Park et al., 2023).

Departures: none in the update. Discrete actions are left out: an arm has none.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from mqe_core.learning.networks.actor import Agent, GoalActor, Metrics, named
from mqe_core.learning.networks.actor_losses import awr_loss
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.networks.values import (
    GoalValue,
    ImplicitValueConfig,
    follow,
    implicit_value_loss,
    steps_of_value,
)
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class GCIVLAgent(Agent):
    """Two V with a slowly following copy, and the actor; each has its own encoder."""

    frames = ("observation", "next_observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: GCIVLConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.value = GoalValue(config, observation, statistics, config.ensemble)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        self.actor = GoalActor(config, observation, action_dim, statistics)
        if config.encoder_shared:
            share_encoder(self.value.encoder, self.actor)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum of the losses of V and of the actor."""
        config = self.config
        observations, following = batch.frames["observation"], batch.frames["next_observation"]
        goals, actor_goals = batch.frames["value_goal"], batch.frames["actor_goal"]
        values = self.value(observations, goals)  # (E, B)
        with torch.no_grad():
            copies = self.target_value(observations, goals), self.target_value(following, goals)
        at_goal = batch.steps["value_goal"] == 0
        value_loss = implicit_value_loss(values, *copies, at_goal, config)

        chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        with torch.no_grad():
            now, then = (self.value(frames[row], actor_goals[column]).mean(0) for frames in (observations, following))
        actor, metrics = awr_loss(config, chosen, batch, then - now)
        critic = {"value_loss": value_loss.detach(), "value_mean": values.detach().mean()}
        return value_loss + actor, {**named("critic", critic), **named("actor", metrics)}

    def before_update(self) -> None:
        """The copy follows V as it was before the update."""
        follow(self.target_value, self.value, self.config.target_rate)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and the steps that the mean V stands for."""
        action = self.actor(observation, goal).mean.clamp(-1.0, 1.0)
        return action, steps_of_value(self.value(observation, goal).mean(0), self.config)


@dataclass(frozen=True)
class GCIVLConfig(ImplicitValueConfig):
    """OGBench's defaults."""

    can_share_encoder = True

    alpha: float = key(10.0, "inverse temperature: weight of an action is exp(alpha * advantage)", group="policy")
