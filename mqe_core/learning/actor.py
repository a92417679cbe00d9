"""What all agents share: a unit-variance Gaussian policy of observation and goal, how it is trained, and the frame of an agent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.batch import Batch
from mqe_core.learning.config import key
from mqe_core.learning.goal_sampling import GoalMixture
from mqe_core.learning.networks import ENCODERS, MeanActor, PairEncoder
from mqe_core.learning.observations import ObservationSpec

Metrics = dict[str, Tensor]
StateStatistics = tuple[Tensor, Tensor] | None  # mean and std (S,) of state observations; None for pixels


@dataclass(frozen=True)
class ActorConfig:
    """Keys that every agent has."""

    alpha: float = key(0.1, "weight of the behaviour-cloning term of the actor")
    hidden_dims: tuple[int, ...] = key((512, 512, 512), "hidden widths of every network behind an encoder")
    encoder: str = key("impala_small", "image encoder: impala_small (official), or for CPUs strided or strided_small", choices=tuple(ENCODERS))
    encoder_bfloat16: bool = key(False, "train the image encoders in bfloat16 (about twice as fast where the CPU has it, else slower)")
    actor_layer_norm: bool = key(False, "LayerNorm after the hidden layers of the policy (the official one has none)")
    actor_components: int = key(1, "Gaussians in the policy; with more than one, the mean of the most probable is the action")
    actor_std: float = key(1.0, "their standard deviation, of the actions' range [-1, 1]; small enough to keep components apart")
    actor_goal_current: float = key(0.0, "probability that an actor goal is the frame itself")
    actor_goal_trajectory: float = key(1.0, "probability that it is a later frame of the episode, uniformly")
    actor_goal_scene: float = key(0.0, "probability that it is the end of this episode or of one recorded later in the same scene")
    actor_goal_random: float = key(0.0, "probability that it is any frame of the data")

    def __post_init__(self) -> None:
        if self.alpha < 0.0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")
        if self.actor_components < 1 or not self.actor_std > 0.0:
            raise ValueError(f"actor_components must be at least 1 and actor_std positive, got {self.actor_components} and {self.actor_std}")
        self.actor_goals()

    def actor_goals(self) -> GoalMixture:
        """How the actor's goals are drawn."""
        return GoalMixture(self.actor_goal_current, self.actor_goal_trajectory, self.actor_goal_random, self.actor_goal_scene)


class Agent(nn.Module):
    """Networks and the loss of one batch. `discount` is that of what `steps_to_goal` is made from, None where there is none."""

    discount: float | None = None

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
        return self.agent.deployed(observation, goal)


@dataclass(frozen=True)
class ActionDistribution:
    """K isotropic Gaussians over actions and their weights; with K = 1 and std 1 the official policy."""

    logits: Tensor  # (B, K)
    means: Tensor  # (B, K, A), before clipping
    std: float

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
        outputs = self.components * action_dim + weights
        self.network = MeanActor(in_features, config.hidden_dims, outputs, config.actor_layer_norm)
        if weights:
            with torch.no_grad():  # components that begin alike would stay alike
                self.network.head.bias[weights:].uniform_(-0.5, 0.5)

    def forward(self, features: Tensor) -> ActionDistribution:
        out = self.network(features)
        if self.components == 1:
            return ActionDistribution(torch.zeros_like(out[:, :1]), out[:, None], self.std)
        return ActionDistribution(out[:, : self.components], out[:, self.components :].unflatten(-1, (self.components, -1)), self.std)


class GoalActor(nn.Module):
    """The policy: distribution over actions of observation and goal, seen together by an encoder of its own."""

    def __init__(self, config: ActorConfig, observation: ObservationSpec, action_dim: int, statistics: StateStatistics) -> None:
        super().__init__()
        self.encoder = PairEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.head = ActionHead(config, self.encoder.out_features, action_dim)

    def forward(self, observations: Tensor, goals: Tensor) -> ActionDistribution:
        return self.head(self.encoder(observations, goals))


def actor_loss(
    chosen: ActionDistribution, actions: Tensor, q: Tensor | None, *, alpha: float, q_weight: float = 1.0
) -> tuple[Tensor, Metrics]:
    """DDPG+BC: ``-q_weight * mean(q) / mean|q| - alpha * mean log_prob(actions)``.

    ``actions (B, A)``; ``q (B,)`` is the value of the clipped mode, None where there is no Q term.
    """
    bc_loss = -chosen.log_prob(actions).mean()
    loss = alpha * bc_loss
    error = (chosen.mode - actions).square().mean()
    metrics = {"bc_loss": bc_loss.detach(), "action_mse": error.detach()}
    if q is not None:
        loss = loss - q_weight * q.mean() / (q.abs().mean().detach() + 1e-6)
        metrics["q_mean"] = q.mean().detach()
    return loss, metrics


def frozen_parameters(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters without gradient, for ``torch.func.functional_call``: gradient then reaches the inputs only."""
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def named(prefix: str, metrics: Metrics) -> Metrics:
    """The metrics as ``prefix/name``."""
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
