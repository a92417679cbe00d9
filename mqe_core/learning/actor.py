"""What all agents share: a unit-variance Gaussian policy of observation and goal, how it is trained, and the frame of an agent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.batch import Batch
from mqe_core.learning.config import key
from mqe_core.learning.goal_sampling import GoalMixture
from mqe_core.learning.landmarks import WIDTH
from mqe_core.learning.networks import ENCODERS, MeanActor, PairEncoder
from mqe_core.learning.observations import ObservationSpec

Metrics = dict[str, Tensor]
StateStatistics = tuple[Tensor, Tensor] | None  # mean and std (S,) of state observations; None for pixels


@dataclass(frozen=True)
class ActorConfig:
    """Keys that every agent has."""

    alpha: float = key(0.1, "weight of the behaviour-cloning term of the actor")
    hidden_dims: tuple[int, ...] = key((512, 512, 512), "hidden widths of every network behind an encoder")
    encoder: str = key(
        "impala_small",
        "of images: impala_small (official), residual (GPU), strided, strided_small, patch",
        choices=tuple(ENCODERS),
    )
    encoder_bfloat16: bool = key(
        False, "train the image encoders in bfloat16 where the processor has it (about twice as fast)"
    )
    actor_layer_norm: bool = key(False, "LayerNorm after the hidden layers of the policy (the official one has none)")
    actor_components: int = key(
        1, "Gaussians in the policy; with more than one, the mean of the most probable is the action"
    )
    actor_std: float = key(
        1.0, "their standard deviation, of the actions' range [-1, 1]; small enough to keep components apart"
    )
    actor_goal_current: float = key(0.0, "probability that an actor goal is the frame itself")
    actor_goal_trajectory: float = key(1.0, "probability that it is a later frame of the episode, uniformly")
    actor_goal_scene: float = key(
        0.0, "probability that it is the end of this episode or of one recorded later in the same scene"
    )
    actor_goals_crossed: bool = key(
        False,
        "train each row towards the goals of other rows, too, that come later in its scene (eq. 15 has all pairs)",
    )
    actor_stop_radius_m: float = key(
        0.0, "coming to rest so near to where its episode ends, the hand meets no scene goal of a later one; 0: any"
    )
    actor_fusion: str = key(
        "early", "how the policy sees two images: as six channels, or each alone", choices=("early", "late")
    )
    landmark_weight: float = key(
        0.0, "weight of predicting, beside the action, where the hand is and where the gripper next opens or closes"
    )
    actor_goal_random: float = key(0.0, "probability that it is any frame of the data")

    def __post_init__(self) -> None:
        if self.landmark_weight < 0.0:
            raise ValueError(f"landmark_weight must not be negative, got {self.landmark_weight}")
        if self.actor_stop_radius_m < 0.0:
            raise ValueError(f"actor_stop_radius_m must not be negative, got {self.actor_stop_radius_m}")
        if self.actor_stop_radius_m > 0.0 and self.actor_goal_scene == 0.0:
            raise ValueError("actor_stop_radius_m needs goals of later episodes: actor_goal_scene")
        if self.alpha < 0.0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")
        if self.actor_components < 1 or not self.actor_std > 0.0:
            raise ValueError(
                f"actor_components must be at least 1 and actor_std positive, got {self.actor_components} and {self.actor_std}"
            )
        self.actor_goals()

    def actor_goals(self) -> GoalMixture:
        """How the actor's goals are drawn."""
        return GoalMixture(
            self.actor_goal_current, self.actor_goal_trajectory, self.actor_goal_random, self.actor_goal_scene
        )


class Agent(nn.Module):
    """Networks and the loss of one batch. `discount` is that of what `steps_to_goal` is made from, None where there is none."""

    discount: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder: nn.Module | None = (
            None  # frozen, in front of an agent that was trained on its features; see features.py
        )

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The scalar that one optimiser step descends, and detached scalar metrics by name."""
        raise NotImplementedError

    def after_update(self) -> None:
        """Called after every optimiser step."""

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a bundle computes: see :class:`PolicyModule`."""
        raise NotImplementedError

    def policy_module(self) -> PolicyModule:
        """What deployment needs, for export."""
        return PolicyModule(self)


class PolicyModule(nn.Module):
    """Deterministic policy and distance: ``(observation, goal) -> (action_normalised (B, A), steps_to_goal (B,) or None)``.

    Observation and goal are ``(B, H, W, 3) uint8`` or ``(B, S) float32``. The action is the clipped mean, in [-1, 1];
    ``steps_to_goal`` are control steps.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor | None]:
        encoder = self.agent.image_encoder
        if encoder is not None:
            observation, goal = encoder(observation), encoder(goal)
        return self.agent.deployed(observation, goal)


@dataclass(frozen=True)
class ActionDistribution:
    """K isotropic Gaussians over actions and their weights; with K = 1 and std 1 the official policy."""

    logits: Tensor  # (B, K)
    means: Tensor  # (B, K, A), before clipping
    std: float
    landmarks: Tensor | None = None  # (B, 7), where the policy predicts them

    @property
    def mode(self) -> Tensor:
        """(B, A): the mean of the most probable component. Between two ways it takes one, where a single mean would go through the middle."""
        best = self.logits.argmax(-1)[:, None, None]
        return self.means.gather(1, best.expand(-1, 1, self.means.shape[-1])).squeeze(1)

    def log_prob(self, actions: Tensor) -> Tensor:
        """``(B, A) -> (B,)``, times std² so that weights of other terms keep their meaning."""
        squared = (self.means - actions[:, None]).square().sum(-1)  # (B, K)
        width = actions.shape[-1]
        log_gauss = -0.5 * squared / self.std**2 - 0.5 * width * math.log(2.0 * math.pi * self.std**2)
        return self.std**2 * torch.logsumexp(log_gauss + self.logits.log_softmax(-1), dim=-1)


class ActionHead(nn.Module):
    """Distribution over actions from features, ``(B, in) -> ActionDistribution``."""

    def __init__(self, config: ActorConfig, in_features: int, action_dim: int) -> None:
        super().__init__()
        self.components, self.std = config.actor_components, config.actor_std
        # One network for means and weights; a single component needs no weight.
        weights = self.components if self.components > 1 else 0
        self.landmarks = WIDTH if config.landmark_weight > 0.0 else 0
        outputs = self.components * action_dim + weights + self.landmarks
        self.network = MeanActor(in_features, config.hidden_dims, outputs, config.actor_layer_norm)
        if weights:
            with torch.no_grad():  # components that begin alike would stay alike
                self.network.head.bias[weights : outputs - self.landmarks].uniform_(-0.5, 0.5)

    def forward(self, features: Tensor) -> ActionDistribution:
        out = self.network(features)
        landmarks = None
        if self.landmarks:
            out, landmarks = out[:, : -self.landmarks], out[:, -self.landmarks :]
        if self.components == 1:
            return ActionDistribution(torch.zeros_like(out[:, :1]), out[:, None], self.std, landmarks)
        means = out[:, self.components :].unflatten(-1, (self.components, -1))
        return ActionDistribution(out[:, : self.components], means, self.std, landmarks)


class GoalActor(nn.Module):
    """The policy: distribution over actions of observation and goal, seen by an encoder of its own."""

    def __init__(
        self, config: ActorConfig, observation: ObservationSpec, action_dim: int, statistics: StateStatistics
    ) -> None:
        super().__init__()
        self.encoder = PairEncoder(
            config.encoder, observation, statistics, config.encoder_bfloat16, config.actor_fusion
        )
        self.head = ActionHead(config, self.encoder.out_features, action_dim)

    def forward(self, observations: Tensor, goals: Tensor, pairs: Tensor | None = None) -> ActionDistribution:
        """Of every observation with its goal, or of the ``pairs (P, 2)`` of them."""
        return self.head(self.encoder(observations, goals, pairs))


def actor_loss(
    config: ActorConfig, chosen: ActionDistribution, batch: Batch, q: Tensor | None = None, q_weight: float = 1.0
) -> tuple[Tensor, Metrics]:
    """DDPG+BC over the batch's pairs: ``-q_weight * mean(q) / mean|q| - alpha * mean log_prob(actions)``, and the landmarks' squared error.

    ``chosen`` is the policy's answer to each of the P pairs; ``q (P,)`` the value of its clipped mode, None where there is no Q term.
    Every row weighs the same in the means, however many goals it meets.
    """
    (row, _), weights = batch.rows_and_goals, batch.pair_weights
    actions = batch.actions[row]
    bc_loss = -(chosen.log_prob(actions) * weights).sum()
    loss = config.alpha * bc_loss
    error = ((chosen.mode - actions).square().mean(-1) * weights).sum()
    metrics = {"bc_loss": bc_loss.detach(), "action_mse": error.detach()}
    if q is not None:
        q_mean = (q * weights).sum()
        loss = loss - q_weight * q_mean / ((q.abs() * weights).sum().detach() + 1e-6)
        metrics["q_mean"] = q_mean.detach()
    if chosen.landmarks is not None:
        landmark_loss = ((chosen.landmarks - batch.landmarks[row]).square().mean(-1) * weights).sum()
        loss = loss + config.landmark_weight * landmark_loss
        metrics["landmark_mse"] = landmark_loss.detach()
    return loss, metrics


def frozen_parameters(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters without gradient, for ``torch.func.functional_call``: gradient then reaches the inputs only."""
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def named(prefix: str, metrics: Metrics) -> Metrics:
    """The metrics as ``prefix/name``."""
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
