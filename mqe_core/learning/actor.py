"""What all agents share: a unit-variance Gaussian policy of observation and goal, how it is trained, and the frame of an agent."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    actor_goal_current: float = key(0.0, "probability that an actor goal is the frame itself")
    actor_goal_trajectory: float = key(1.0, "probability that it is a later frame of the episode, uniformly")
    actor_goal_random: float = key(0.0, "probability that it is any frame of the data")

    def __post_init__(self) -> None:
        if self.alpha < 0.0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")
        self.actor_goals()

    def actor_goals(self) -> GoalMixture:
        """How the actor's goals are drawn."""
        return GoalMixture(self.actor_goal_current, self.actor_goal_trajectory, self.actor_goal_random)


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


class GoalActor(nn.Module):
    """Mean action before clipping, ``(B, ...), (B, ...) -> (B, A)``, of observation and goal seen together by an encoder of its own."""

    def __init__(self, config: ActorConfig, observation: ObservationSpec, action_dim: int, statistics: StateStatistics) -> None:
        super().__init__()
        self.encoder = PairEncoder(config.encoder, observation, statistics, config.encoder_bfloat16)
        self.mean = MeanActor(self.encoder.out_features, config.hidden_dims, action_dim)

    def forward(self, observations: Tensor, goals: Tensor) -> Tensor:
        return self.mean(self.encoder(observations, goals))


def actor_loss(mean: Tensor, actions: Tensor, q: Tensor | None, *, alpha: float, q_weight: float = 1.0) -> tuple[Tensor, Metrics]:
    """DDPG+BC: ``-q_weight * mean(q) / mean|q| - alpha * mean log N(actions | mean, I)``.

    ``mean, actions (B, A)``; ``q (B,)`` is the value of the clipped mean action, None where there is no Q term.
    """
    squared_error = (mean - actions).square().sum(-1)  # (B,)
    log_prob = -0.5 * squared_error - 0.5 * actions.shape[-1] * math.log(2.0 * math.pi)
    bc_loss = -log_prob.mean()
    loss = alpha * bc_loss
    metrics = {"bc_loss": bc_loss.detach(), "action_mse": (squared_error.mean() / actions.shape[-1]).detach()}
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
