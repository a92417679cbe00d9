"""A policy that may have several modes: noise is carried to an action along a learned velocity (flow matching).

Trained is ``mean ||v(s, g, x_t, t) - (a - z)||^2`` with ``x_t = (1 - t) z + t a``, z standard normal and t uniform in
[0, 1]. An action is sampled by T Euler steps of v from a given z, and clipped after the last one only. After Lipman et
al., 2023, "Flow Matching for Generative Modeling", as behaviour cloning in the code of "Horizon Reduction Makes RL
Scalable" (Park et al., 2025). Without the goal as an input, as in decoupled Q-chunking (arXiv 2512.10926), the critic
alone decides where to.

Departures: LayerNorm is that of ``actor_layer_norm``; the noise of what is deployed is fixed, see :func:`fixed_noise`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import ActorConfig, GoalActor, Metrics
from mqe_core.learning.networks.encoders import PairEncoder, make_encoder
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key
from mqe_core.policy.contract import MOST_CANDIDATES, MOST_FLOW_STEPS

ACTORS = ("gaussian", "flow")


@dataclass(frozen=True)
class FlowConfig(ActorConfig):
    """Keys of the agents whose policy may be a flow."""

    actor: str = key(
        "gaussian",
        "the policy: gaussian, one mean; flow, several modes, learned by cloning alone (flow matching)",
        choices=ACTORS,
        group="policy",
    )
    actor_sees_goal: bool = key(
        True, "a flow's velocity sees the goal; else the critic alone decides where to", group="policy"
    )
    flow_steps: int = key(
        10, f"T: Euler steps from noise to an action or a proposal of a flow, 1 to {MOST_FLOW_STEPS}", group="policy"
    )
    flow_gripper: bool = key(
        True,
        "an action's last number is a gripper's: a flow opens or closes it whole, before a critic judges the action",
        group="policy",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.flow_steps <= MOST_FLOW_STEPS:
            raise ValueError(f"flow_steps must lie in 1 to {MOST_FLOW_STEPS}, got {self.flow_steps}")
        if self.actor == "gaussian":
            if not self.actor_sees_goal:
                raise ValueError("actor_sees_goal: false needs actor: flow; one mean for all goals is none of any")
            return
        if self.alpha == 0.0:
            raise ValueError("alpha is 0: a flow, which is cloned alone, would learn nothing")
        for name, off in (("landmark_weight", 0.0), ("actor_learns_std", False)):
            if getattr(self, name) != off:
                raise ValueError(f"{name} is of actor: gaussian; set it to {str(off).lower()} for a flow")

    def judged(self, actions: Tensor) -> Tensor:
        """The actions ``(..., A)`` in [-1, 1] as a critic that ranks candidates learns them: see :func:`decided`."""
        return decided(actions) if self.actor == "flow" and self.flow_gripper else actions


@dataclass(frozen=True)
class ChoiceConfig(FlowConfig):
    """Keys of the agents whose critic chooses among a flow's candidates."""

    candidates: int = key(
        32, f"N: actions or proposals of a flow of which the critic chooses one, 1 to {MOST_CANDIDATES}", group="policy"
    )
    choice_margin: float = key(
        0.1,
        "control steps by which another candidate must be nearer to the goal than the one chosen last",
        group="policy",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            raise ValueError(f"candidates must lie in 1 to {MOST_CANDIDATES}, got {self.candidates}")
        if not 0.0 <= self.choice_margin < float("inf"):
            raise ValueError(f"choice_margin must be a number from 0, got {self.choice_margin}")
        if self.actor == "flow" and not self.actor_sees_goal and self.candidates == 1:
            raise ValueError("a flow that sees no goal needs a critic with a choice: set candidates to 8 or more")

    @property
    def choices(self) -> int:
        """How many actions there are to choose from."""
        return self.candidates if self.actor == "flow" else 1


def decided(actions: Tensor) -> Tensor:
    """``(..., A)`` with the last number, a gripper's, at -1 (closed) or 1 (open): the bundle's threshold, half way."""
    opened = torch.where(actions[..., -1:] >= 0.0, 1.0, -1.0)
    return torch.cat([actions[..., :-1], opened.to(actions.dtype)], dim=-1)


def fixed_noise(candidates: int, action_dim: int) -> Tensor:
    """``(N, A)``: zero first, then pairs of z and -z, always the same ones; fewer candidates are the first of more."""
    drawn = np.random.default_rng(0).standard_normal((candidates // 2, action_dim))
    pairs = np.stack([drawn, -drawn], axis=1).reshape(-1, action_dim)
    return torch.from_numpy(np.concatenate([np.zeros((1, action_dim)), pairs])[:candidates]).float()


def matching_error(velocity: MeanActor, features: Tensor, target: Tensor) -> Tensor:
    """``(B, F), (B, A) -> (B,)``: the squared error of the velocity on the way from fresh noise to the target."""
    noise, time = torch.randn_like(target), torch.rand_like(target[:, :1])
    on_the_way = noise + time * (target - noise)
    return (velocity(torch.cat([features, on_the_way, time], dim=-1)) - (target - noise)).square().mean(-1)


def carried(velocity: MeanActor, features: Tensor, noise: Tensor, steps: int) -> Tensor:
    """What the noise ``(N, A)``, or ``(B, N, A)``, becomes beside ``features (B, F)`` in so many Euler steps, ``(B, N,
    A)``.
    """
    shared = velocity.shared(features)  # the first layer's share of the features, once for all steps
    x = noise.expand(features.shape[0], *noise.shape[-2:])  # len() would fix an exported batch
    for step in range(steps):
        time = torch.full_like(x[..., :1], step / steps)
        x = x + velocity.of_candidates(shared, torch.cat([x, time], dim=-1)) / steps
    return x


class GoalBlindEncoder(nn.Module):
    """Features of observations alone, with the arguments of a :class:`PairEncoder`."""

    def __init__(
        self, name: str, observation: ObservationSpec, statistics: Statistics | None, bfloat16: bool = False
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(name, observation, statistics, bfloat16)
        self.out_features = self.encoder.out_features

    def forward(self, observations: Tensor, goals: Tensor, pairs: Tensor | None = None) -> Tensor:
        features = self.encoder(observations)
        return features if pairs is None else features[pairs[:, 0]]


class FlowActor(nn.Module):
    """The policy as a flow, seen by an encoder of its own; ``candidates`` of it are made at a time."""

    noise: Tensor

    def __init__(
        self,
        config: FlowConfig,
        observation: ObservationSpec,
        action_dim: int,
        statistics: Statistics | None,
        candidates: int = 1,
    ) -> None:
        super().__init__()
        self.alpha, self.steps, self.has_gripper = config.alpha, config.flow_steps, config.flow_gripper
        self.encoder: PairEncoder | GoalBlindEncoder
        if config.actor_sees_goal:
            self.encoder = PairEncoder(
                config.encoder, observation, statistics, config.encoder_bfloat16, config.actor_fusion
            )
        else:
            self.encoder = GoalBlindEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        inputs = self.encoder.out_features + action_dim + 1  # features, x_t, t
        self.velocity = MeanActor(inputs, config.hidden_dims, action_dim, config.actor_layer_norm)
        # Not in a checkpoint: another N is tried on a finished run.
        self.register_buffer("noise", fixed_noise(candidates, action_dim), persistent=False)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """``alpha`` times the flow-matching loss over the batch's pairs, and the loss itself as a metric.

        Every row weighs the same, however many goals it meets.
        """
        row, _ = batch.rows_and_goals
        features = self.encoder(batch.frames["observation"], batch.frames["actor_goal"], batch.actor_pairs)
        actions = batch.actions[row]
        flow_loss = (matching_error(self.velocity, features, actions) * batch.pair_weights).sum()
        return self.alpha * flow_loss, {"flow_loss": flow_loss.detach()}

    def candidates(self, observations: Tensor, goals: Tensor) -> Tensor:
        """``(B, N, A)`` in [-1, 1]: what the fixed noise becomes, the gripper decided where there is one."""
        return self.sample(observations, goals, self.noise)

    def sample(self, observations: Tensor, goals: Tensor, noise: Tensor) -> Tensor:
        """What the noise ``(N, A)``, or ``(B, N, A)``, becomes, ``(B, N, A)``; the same noise gives the same."""
        x = carried(self.velocity, self.encoder(observations, goals), noise, self.steps).clamp(-1.0, 1.0)
        return decided(x) if self.has_gripper else x


def make_actor(
    config: FlowConfig, observation: ObservationSpec, action_dim: int, statistics: Statistics | None
) -> GoalActor | FlowActor:
    """The policy that the configuration names."""
    if config.actor == "gaussian":
        return GoalActor(config, observation, action_dim, statistics)
    candidates = config.choices if isinstance(config, ChoiceConfig) else 1
    return FlowActor(config, observation, action_dim, statistics, candidates)
