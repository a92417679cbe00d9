"""Hierarchical implicit Q-learning (HIQL): a high policy names a subgoal k steps ahead, a low one acts towards it.

What is minimised is ``value + low actor + high actor``. V(s, r(s,g)) is learned as in GCIVL, on a short representation
r of the goal. Both policies imitate what gains (AWR): the low one the action, weighted by V(s',w) - V(s,w) for the
subgoal w; the high one the representation r(s,w) of the waypoint towards g, weighted by V(w,g) - V(s,g). Deployed, the
high policy's mean, scaled to r's length, is the low one's goal. One r serves everything; it has no copy, the copy of V
reads it as it is. After Park et al., 2023, "HIQL: Offline Goal-Conditioned RL with Latent States as Actions", as in
OGBench (Park et al., 2025).

Departures: none in the update. Of the rows one thing differs: a random goal of the high policy that happens to lie
within k steps ends its waypoint, too, as a waypoint past its goal is no way there. Discrete actions are left out.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.actor import (
    ActionDistribution,
    ActionHead,
    Agent,
    GoalActor,
    Metrics,
    named,
)
from mqe_core.learning.networks.actor_losses import awr_loss, weighted_cloning
from mqe_core.learning.networks.encoders import PairEncoder, make_encoder
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.networks.values import ImplicitValueConfig, follow, implicit_value_loss, steps_of_value
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.rows.subgoal_sampling import SubgoalSampler
from mqe_core.learning.run.config import key


class GoalRepresentation(nn.Module):
    """r of observation and goal, ``(B, ...), (B, ...) -> (B, R)``, of length sqrt(R)."""

    def __init__(self, config: HIQLConfig, observation: ObservationSpec, statistics: Statistics | None) -> None:
        super().__init__()
        self.encoder = PairEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        inputs, widths = self.encoder.out_features, config.critic_widths
        self.mlp = EnsembleMLP(1, inputs, widths, config.representation_dim, config.critic_layer_norm)

    def forward(self, observations: Tensor, goals: Tensor) -> Tensor:
        return of_unit_scale(self.mlp(self.encoder(observations, goals))[0])


def of_unit_scale(vectors: Tensor) -> Tensor:
    """``(B, R) -> (B, R)``: each of length sqrt(R)."""
    return F.normalize(vectors, dim=-1) * math.sqrt(vectors.shape[-1])


class SubgoalValue(nn.Module):
    """E values of observation and represented goal, ``(B, ...), (B, R) -> (E, B)``, behind an encoder of its own."""

    def __init__(self, config: HIQLConfig, observation: ObservationSpec, statistics: Statistics | None) -> None:
        super().__init__()
        self.encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        inputs, widths = self.encoder.out_features + config.representation_dim, config.critic_widths
        self.values = EnsembleMLP(config.ensemble, inputs, widths, 1, config.critic_layer_norm)

    def forward(self, observations: Tensor, represented: Tensor) -> Tensor:
        return self.values(torch.cat([self.encoder(observations), represented], dim=-1)).squeeze(-1)


class LowActor(nn.Module):
    """The policy towards a represented subgoal, ``(B, ...), (B, R) -> ActionDistribution``."""

    def __init__(
        self, config: HIQLConfig, observation: ObservationSpec, action_dim: int, statistics: Statistics | None
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.head = ActionHead(config, self.encoder.out_features + config.representation_dim, action_dim)

    def forward(self, observations: Tensor, represented: Tensor) -> ActionDistribution:
        return self.head(torch.cat([self.encoder(observations), represented], dim=-1))


class HIQLAgent(Agent):
    """The representation, two V with a slowly following copy, and both policies."""

    frames = ("observation", "next_observation", "value_goal", "subgoal", "actor_goal", "waypoint")
    policies = ("low_actor", "high_actor")

    def __init__(
        self,
        config: HIQLConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__()
        if config.actor_goals_crossed:
            raise ValueError("actor_goals_crossed: the waypoints of hiql belong to one goal each; set it to false")
        self.config, self.discount = config, config.discount
        self.representation = GoalRepresentation(config, observation, statistics)
        self.value = SubgoalValue(config, observation, statistics)
        self.target_value = copy.deepcopy(self.value).requires_grad_(False)
        self.low_actor = LowActor(config, observation, action_dim, statistics)
        plain = replace(config, landmark_weight=0.0)  # the low policy predicts them
        self.high_actor = GoalActor(plain, observation, config.representation_dim, statistics)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The sum of the losses of V and of both policies."""
        low, low_metrics = self._low_loss(batch)
        high, high_metrics = self._high_loss(batch)
        value, value_metrics = self._value_loss(batch)
        metrics = {**named("critic", value_metrics), **named("actor", low_metrics), **named("high_actor", high_metrics)}
        return value + low + high, metrics

    def _value_loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        config, goals = self.config, batch.frames["value_goal"]
        observations, following = batch.frames["observation"], batch.frames["next_observation"]
        represented = self.representation(observations, goals)
        values = self.value(observations, represented)  # (E, B)
        with torch.no_grad():
            copies = (
                self.target_value(observations, represented),
                self.target_value(following, self.representation(following, goals)),
            )
        at_goal = batch.steps["value_goal"] == 0
        loss = implicit_value_loss(values, *copies, at_goal, config)
        return loss, {"value_loss": loss.detach(), "value_mean": values.detach().mean()}

    def _low_loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        observations, subgoals = batch.frames["observation"], batch.frames["subgoal"]
        gain = self._gain(observations, batch.frames["next_observation"], subgoals)
        represented = self.representation(observations, subgoals)
        if not self.config.representation_learns_from_actor:
            represented = represented.detach()
        return awr_loss(self.config, self.low_actor(observations, represented), batch, gain)

    def _high_loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        observations, waypoints, goals = (batch.frames[name] for name in ("observation", "waypoint", "actor_goal"))
        gain = self._gain(observations, waypoints, goals)
        with torch.no_grad():
            target = self.representation(observations, waypoints)
        chosen = self.high_actor(observations, goals)
        return weighted_cloning(chosen, target, gain, self.config.high_alpha, batch.pair_weights)

    @torch.no_grad()
    def _gain(self, observations: Tensor, later: Tensor, goals: Tensor) -> Tensor:
        """``V(later, g) - V(s, g)``, ``(B,)``."""
        now, then = (self.value(frames, self.representation(frames, goals)) for frames in (observations, later))
        return then.mean(0) - now.mean(0)

    def before_update(self) -> None:
        """The copy follows V as it was before the update."""
        follow(self.target_value, self.value, self.config.target_rate)

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Clipped mean action towards the mean subgoal, and the steps that the mean V stands for."""
        subgoal = of_unit_scale(self.high_actor(observation, goal).mean)
        action = self.low_actor(observation, subgoal).mean.clamp(-1.0, 1.0)
        value = self.value(observation, self.representation(observation, goal)).mean(0)
        return action, steps_of_value(value, self.config)


@dataclass(frozen=True)
class HIQLConfig(ImplicitValueConfig):
    """OGBench's defaults."""

    alpha: float = key(3.0, "inverse temperature of the low policy's weights", group="policy")
    high_alpha: float = key(3.0, "inverse temperature of the high policy's weights", group="policy")
    expectile: float = key(0.7, "kappa: V is this expectile of its targets", group="critic")
    subgoal_steps: int = key(25, "k: steps to a subgoal (official: manipulation 10, humanoid 100)", group="goals")
    representation_dim: int = key(10, "R: numbers in the representation of a goal", group="critic")
    representation_learns_from_actor: bool = key(
        False, "the low policy's gradient reaches the representation (official: true from pixels)", group="critic"
    )

    def __post_init__(self) -> None:
        if self.subgoal_steps < 1:
            raise ValueError(f"subgoal_steps must be at least 1, got {self.subgoal_steps}")
        super().__post_init__()

    def sampler(self) -> SubgoalSampler:
        """Rows with subgoals."""
        return SubgoalSampler(self.value_goals(), self.actor_goals(), self.subgoal_steps)
