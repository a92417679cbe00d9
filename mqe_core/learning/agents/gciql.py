"""Goal-conditioned implicit Q-learning (GCIQL): values of what the data does best, by one step, and a policy on them.

What is minimised is ``value + critic + actor``. V is the upper expectile of the copies' smaller Q over the data's
actions; Q is one step's reward plus V of the next observation (squared error, the two summed); the actor is DDPG+BC on
the smaller Q, or AWR with the advantage Q - V. The reward is -1 per step until the goal, so V lies in [-1/(1-gamma),
0]. After Kostrikov et al., 2022, "Offline Reinforcement Learning with Implicit Q-Learning", as in OGBench (Park et al.,
2025).

With ``actor: flow`` the actor is cloned by flow matching alone, and the smaller Q chooses one of its candidates
(networks/flow.py, networks/choice.py).

Departures: the copy of Q follows Q as it is after an update, as earlier runs here did; ``target_lags`` lets it follow Q
as it was before, as in OGBench. Discrete actions are left out: an arm has none.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from mqe_core.learning.networks.actor import Agent, Metrics, frozen, named
from mqe_core.learning.networks.actor_losses import ACTOR_LOSSES, actor_loss, awr_loss
from mqe_core.learning.networks.choice import Choice, choose
from mqe_core.learning.networks.flow import ChoiceConfig, FlowActor, make_actor
from mqe_core.learning.networks.shared_encoder import share_encoder
from mqe_core.learning.networks.values import (
    GoalValue,
    ImplicitValueConfig,
    expectile_loss,
    follow,
    one_step_target,
    steps_of_value,
)
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key


class GCIQLAgent(Agent):
    """V, two Q with a slowly following copy, and the actor; each has its own encoder."""

    frames = ("observation", "next_observation", "value_goal", "actor_goal")

    def __init__(
        self,
        config: GCIQLConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        self.config, self.discount = config, config.discount
        self.candidates = config.choices
        self.value = GoalValue(config, observation, statistics, 1)
        self.q = GoalValue(config, observation, statistics, config.ensemble, action_dim)
        if config.encoder_shared:
            share_encoder(self.value.encoder, self.q)
        self.target_q = copy.deepcopy(self.q).requires_grad_(False)
        self.actor = make_actor(config, observation, action_dim, statistics)
        if config.encoder_shared:
            share_encoder(self.value.encoder, self.actor)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum of the losses of V, Q and actor."""
        config = self.config
        observations, value_goals = batch.frames["observation"], batch.frames["value_goal"]
        with torch.no_grad():
            actions = config.judged(batch.actions)
            target = self.target_q(observations, value_goals, actions).amin(0)
            next_value = self.value(batch.frames["next_observation"], value_goals)[0]
            q_target = one_step_target(next_value, batch.steps["value_goal"] == 0, config)
        value = self.value(observations, value_goals)[0]
        value_loss = expectile_loss(target - value, config.expectile).mean()
        q = self.q(observations, value_goals, actions)
        q_loss = (q - q_target).square().sum(0).mean()

        actor, metrics = self._actor_loss(batch)
        critic = {"value_loss": value_loss, "q_loss": q_loss, "value_mean": value.mean()}
        return value_loss + q_loss + actor, {
            **named("critic", {k: v.detach() for k, v in critic.items()}),
            **named("actor", metrics),
        }

    def _actor_loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Of the policy alone."""
        if isinstance(self.actor, FlowActor):
            return self.actor.loss(batch)
        config, observations, actor_goals = self.config, batch.frames["observation"], batch.frames["actor_goal"]
        chosen = self.actor(observations, actor_goals, batch.actor_pairs)
        row, column = batch.rows_and_goals
        start, goal = observations[row], actor_goals[column]
        if config.actor_loss == "awr":
            with torch.no_grad():
                advantage = self.q(start, goal, batch.actions[row]).amin(0) - self.value(start, goal)[0]
            return awr_loss(config, chosen, batch, advantage)
        return actor_loss(config, chosen, batch, frozen(self.q, start, goal, self.tried(chosen)).amin(0))

    def before_update(self) -> None:
        if self.config.target_lags:
            follow(self.target_q, self.q, self.config.target_rate)

    def after_update(self) -> None:
        if not self.config.target_lags:
            follow(self.target_q, self.q, self.config.target_rate)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action, and the steps k for which V = -(1 - gamma^k) / (1 - gamma)."""
        if isinstance(self.actor, FlowActor):
            choice = self.chosen(observation, goal)
            return choice.action, choice.steps_to_goal
        action = self.actor(observation, goal).mean.clamp(-1.0, 1.0)
        return action, steps_of_value(self.value(observation, goal)[0], self.config)

    def chosen(self, observation: Tensor, goal: Tensor, last: Tensor | None = None) -> Choice:
        """The candidate of the largest smaller Q; distances are the steps of that Q."""
        assert isinstance(self.actor, FlowActor), "one mean is no choice"
        candidates = self.actor.candidates(observation, goal)
        q = self.q.of_candidates(observation, goal, candidates)
        distances = steps_of_value(q, self.config).amax(0)
        steps = steps_of_value(self.value(observation, goal)[0], self.config)
        return choose(candidates, distances, last, self.config.choice_margin, steps)


@dataclass(frozen=True)
class GCIQLConfig(ChoiceConfig, ImplicitValueConfig):
    """OGBench's defaults, but for alpha, which it sets per task (0.003 to 1)."""

    can_share_encoder = True

    actor_loss: str = key(
        "ddpgbc",
        "ddpgbc: raise Q and clone; awr: clone, weighted by exp(alpha * (Q - V))",
        choices=ACTOR_LOSSES,
        group="policy",
    )
    target_lags: bool = key(
        False, "the copy follows Q as it was before the update (official), not after it", group="critic"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.actor == "flow" and self.actor_loss != "ddpgbc":
            raise ValueError(f"actor_loss: {self.actor_loss} is of actor: gaussian; a flow is cloned, and Q chooses")
