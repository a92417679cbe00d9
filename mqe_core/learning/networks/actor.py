"""What all agents share: a Gaussian policy of observation and goal, its keys, and the frame of an agent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mqe_core.learning.networks.choice import Choice
from mqe_core.learning.networks.encoders import ENCODERS, PairEncoder
from mqe_core.learning.networks.layers import MeanActor
from mqe_core.learning.networks.shared_encoder import require_sharing
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.goal_sampling import GoalMixture, Sampler
from mqe_core.learning.rows.landmarks import WIDTH
from mqe_core.learning.rows.observations import ObservationSpec, Statistics
from mqe_core.learning.run.config import key, require_within

Metrics = dict[str, Tensor]
LOG_STD = (-5.0, 2.0)  # where the logarithm of a deviation that is learned is clipped


@dataclass(frozen=True)
class ActorConfig:
    """Keys that every agent has."""

    alpha: float = key(0.1, "weight of the behaviour-cloning term of the actor", group="policy")
    actor_layer_norm: bool = key(
        False, "LayerNorm after the hidden layers of the policy (the official one has none)", group="policy"
    )
    actor_fusion: str = key(
        "early",
        "how the policy sees two images: as six channels, or each alone",
        choices=("early", "late"),
        group="policy",
    )
    actor_learns_std: bool = key(
        False,
        "learn the policy's deviation, one for each number of an action (official const_std: false); else it is 1",
        group="policy",
    )
    landmark_weight: float = key(
        0.0,
        "weight of predicting, beside the action, where the hand is and where the gripper next opens or closes",
        group="policy",
    )

    hidden_dims: tuple[int, ...] = key(
        (512, 512, 512), "hidden widths of the networks behind the encoders", group="networks"
    )
    encoder: str = key(
        "impala_small",
        "of images: impala_small (official), resnet34 and resnet18 (BridgeData), either with _imagenet (from "
        "encoder_weights), residual (GPU), strided, strided_small, patch",
        choices=tuple(ENCODERS),
        group="networks",
    )
    encoder_bfloat16: bool = key(
        False, "train the image encoders in bfloat16 where the processor has it (about twice as fast)", group="networks"
    )

    actor_goal_current: float = key(0.0, "probability that an actor goal is the frame itself", group="goals")
    actor_goal_trajectory: float = key(1.0, "probability that it is a later frame of the episode", group="goals")
    actor_goal_geometric: bool = key(
        False, "that frame lies Geom(1 - discount) steps ahead; else anywhere in the rest of the episode", group="goals"
    )
    actor_goal_scene: float = key(
        0.0, "probability that it is the end of this episode or of one recorded later in the same scene", group="goals"
    )
    actor_goal_random: float = key(0.0, "probability that it is any frame of the data", group="goals")
    discount: float = key(0.99, "gamma: of geometric goals", group="goals")
    actor_goals_crossed: bool = key(
        False,
        "train each row towards the goals of other rows, too, that come later in its scene (eq. 15 has all pairs)",
        group="goals",
    )
    actor_stop_radius_m: float = key(
        0.0,
        "coming to rest so near to where its episode ends, the hand meets no scene goal of a later one; 0 disables",
        group="goals",
    )

    def __post_init__(self) -> None:
        if self.landmark_weight < 0.0:
            raise ValueError(f"landmark_weight must not be negative, got {self.landmark_weight}")
        if self.actor_stop_radius_m < 0.0:
            raise ValueError(f"actor_stop_radius_m must not be negative, got {self.actor_stop_radius_m}")
        if self.actor_stop_radius_m > 0.0 and self.actor_goal_scene == 0.0:
            raise ValueError("actor_stop_radius_m needs goals of later episodes: actor_goal_scene")
        if self.alpha < 0.0:
            raise ValueError(f"alpha must not be negative, got {self.alpha}")
        require_within(self, ("discount",), open_interval=True)
        self.actor_goals()

    @property
    def tells_scenes(self) -> bool:
        """Whether the agent's loss has to know from which scene a row comes."""
        return False

    def sampler(self) -> Sampler:
        """What draws the rows of the agent's batches."""
        raise NotImplementedError

    def actor_goals(self) -> GoalMixture:
        """How the actor's goals are drawn."""
        return GoalMixture(
            self.actor_goal_current,
            self.actor_goal_trajectory,
            self.actor_goal_random,
            self.actor_goal_scene,
            self.discount if self.actor_goal_geometric else None,
        )


@dataclass(frozen=True)
class CriticConfig(ActorConfig):
    """Keys of every agent with a critic."""

    critic_hidden_dims: tuple[int, ...] = key(
        (), "hidden widths of the critic's networks where they differ; empty: hidden_dims", group="networks"
    )
    critic_layer_norm: bool = key(
        True, "LayerNorm after the hidden layers of the critic (as the official one has)", group="networks"
    )
    encoder_shared: bool = key(
        False,
        "critic and policy see through one image encoder, which both losses train (mqe, tmd, cmd, qrl with "
        "actor_fusion: late; gciql, gcivl with early)",
        group="networks",
    )
    ensemble: int = key(2, "E: independent critics", group="critic")

    can_share_encoder: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_sharing(self.encoder_shared, self.can_share_encoder)

    @property
    def critic_widths(self) -> tuple[int, ...]:
        """Hidden widths of the critic's networks."""
        return self.critic_hidden_dims or self.hidden_dims


class Agent(nn.Module):
    """Networks and the loss of one batch."""

    # Which frames of a row the loss needs, by the names that the configuration's sampler gives them: others are not
    # loaded.
    frames: tuple[str, ...]
    policies: ClassVar[tuple[str, ...]] = ("actor",)  # names of the modules that actor_learning_rate is for
    discount: float | None = None  # of what `steps_to_goal` is made from; None where there is none
    candidates: int = 1  # N: actions among which the critic chooses

    def __init__(self) -> None:
        super().__init__()
        # Frozen, in front of an agent that was trained on its features; see features.py.
        self.image_encoder: nn.Module | None = None

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The scalar that one optimiser step descends, and detached scalar metrics by name."""
        raise NotImplementedError

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal numbers of that shape."""
        return torch.randn_like(like)

    def tried(self, chosen: ActionDistribution) -> Tensor:
        """``(P, A)`` in [-1, 1]: the actions whose value the policy raises, its means, or draws where it learns its
        deviation.
        """
        if chosen.log_std is None:
            return chosen.mean.clamp(-1.0, 1.0)
        return (chosen.mean + chosen.log_std.exp() * self.noise(chosen.mean)).clamp(-1.0, 1.0)

    def before_update(self) -> None:
        """Called before every optimiser step, when the gradients are there."""

    def after_update(self) -> None:
        """Called after every optimiser step."""

    def deployed(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a bundle computes: see :class:`PolicyModule`."""
        raise NotImplementedError

    def steps_to_goal(self, observation: Tensor, goal: Tensor) -> Tensor | None:
        """The second half of :meth:`deployed`, without an action where the agent can tell it so."""
        return self.deployed(observation, goal)[1]

    def chosen(self, observation: Tensor, goal: Tensor, last: Tensor | None = None) -> Choice:
        """The critic's choice, where there are several candidates; ``last (B,)`` as in :func:`choose`."""
        raise NotImplementedError

    def policy_module(self) -> PolicyModule:
        """What deployment needs, for export."""
        return PolicyModule(self)


class PolicyModule(nn.Module):
    """Deterministic policy and distance: ``(observation, goal) -> (action_normalised (B, A), steps_to_goal (B,) or
    None)``.

    Observation and goal are ``(B, H, W, 3) uint8`` or ``(B, S) float32``. The action is the clipped mean, in [-1, 1];
    ``steps_to_goal`` are control steps.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.agent.deployed(*self._seen(observation, goal))

    def choose(self, observation: Tensor, goal: Tensor, last: Tensor | None = None) -> Choice:
        """The same answer with all that it was chosen from, where ``agent.candidates`` are several."""
        return self.agent.chosen(*self._seen(observation, goal), last)

    def steps_to_goals(self, observations: Tensor, goals: Tensor) -> Tensor:
        """``(n, ...)`` and ``(g, ...) -> (g, n)``, of an agent that has a distance. A frozen encoder sees each picture
        once.
        """
        seen, wanted = self._seen(observations, goals)
        told = []
        for goal in wanted:
            steps = self.agent.steps_to_goal(seen, goal.expand_as(seen))
            assert steps is not None, "asked of an agent that has a discount"
            told.append(steps)
        return torch.stack(told)

    def _seen(self, observation: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        encoder = self.agent.image_encoder
        return (observation, goal) if encoder is None else (encoder(observation), encoder(goal))


@dataclass(frozen=True)
class ActionDistribution:
    """The policy: a Gaussian over actions, officially of unit variance."""

    mean: Tensor  # (B, A), before clipping
    landmarks: Tensor | None = None  # (B, 7), where the policy predicts them
    log_std: Tensor | None = None  # (A,), where it is learned; else 0

    def log_prob(self, actions: Tensor) -> Tensor:
        """``(B, A) -> (B,)``."""
        constant = 0.5 * actions.shape[-1] * math.log(2.0 * math.pi)
        if self.log_std is None:
            return -0.5 * (self.mean - actions).square().sum(-1) - constant
        scaled = (self.mean - actions) / self.log_std.exp()
        return -0.5 * scaled.square().sum(-1) - self.log_std.sum() - constant


class ActionHead(nn.Module):
    """Distribution over actions from features, ``(B, in) -> ActionDistribution``."""

    def __init__(self, config: ActorConfig, in_features: int, action_dim: int) -> None:
        super().__init__()
        self.landmarks = WIDTH if config.landmark_weight > 0.0 else 0
        outputs = action_dim + self.landmarks  # the action's stand first
        self.network = MeanActor(in_features, config.hidden_dims, outputs, config.actor_layer_norm)
        self.log_std = nn.Parameter(torch.zeros(action_dim)) if config.actor_learns_std else None

    def forward(self, features: Tensor) -> ActionDistribution:
        out = self.network(features)
        log_std = None if self.log_std is None else self.log_std.clamp(*LOG_STD)
        if self.landmarks:
            return ActionDistribution(out[:, : -self.landmarks], out[:, -self.landmarks :], log_std)
        return ActionDistribution(out, log_std=log_std)


class GoalActor(nn.Module):
    """The policy: distribution over actions of observation and goal, seen by an encoder of its own."""

    def __init__(
        self, config: ActorConfig, observation: ObservationSpec, action_dim: int, statistics: Statistics | None
    ) -> None:
        super().__init__()
        self.encoder = PairEncoder(
            config.encoder, observation, statistics, config.encoder_bfloat16, config.actor_fusion
        )
        self.head = ActionHead(config, self.encoder.out_features, action_dim)

    def forward(self, observations: Tensor, goals: Tensor, pairs: Tensor | None = None) -> ActionDistribution:
        """Of every observation with its goal, or of the ``pairs (P, 2)`` of them."""
        return self.head(self.encoder(observations, goals, pairs))


def frozen(module: nn.Module, *inputs: Tensor) -> Tensor:
    """The module's answer, through which gradient reaches the inputs and none of its parameters."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return functional_call(module, parameters, inputs)


def named(prefix: str, metrics: Metrics) -> Metrics:
    """The metrics as ``prefix/name``."""
    return {f"{prefix}/{name}": value for name, value in metrics.items()}
