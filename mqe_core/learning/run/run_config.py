"""The configuration of a run: the keys of the training loop and of one agent, checked."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass, fields
from typing import Any

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.agents.mqe import MQEConfig
from mqe_core.learning.networks.actor import ActorConfig
from mqe_core.learning.networks.flow import FlowConfig
from mqe_core.learning.networks.imagenet_weights import require_their_encoder
from mqe_core.learning.run import config as configuration
from mqe_core.learning.run.config import key

logger = logging.getLogger(__name__)


_HOW_IT_BEGAN = "it said how a run begins; to open one that is trained, take the line out of its config.yaml"
_MIXTURE = "policies of several Gaussians are gone; train again, or use the version that trained it"
# Keys of earlier versions: the value at which they changed nothing, and what to do about any other.
REMOVED_KEYS: dict[str, tuple[Any, str]] = {
    "actor_from_encoder": (False, f"give --begin-from RUN and begin_with: policy; {_HOW_IT_BEGAN}"),
    "frozen_convolutions": (0, _HOW_IT_BEGAN),
    "actor_components": (1, _MIXTURE),
    "actor_std": (1.0, _MIXTURE),
    "contrast_samples": (0, "it brought nothing; train again without it, or use the version that trained it"),
}


@dataclass(frozen=True)
class TrainConfig:
    """What every run needs; the agent's own keys stand beside these in a configuration file."""

    agent: str = key("mqe", "name of the agent's algorithm", choices=tuple(AGENTS), group="run")
    begin_with: str = key(
        "all",
        "what a run takes from that of --begin-from: all of its weights, or the policy's alone, also of a bundle "
        "(.onnx); of mqe, with alpha and q_weight 0, the policy then stays as it is",
        choices=("all", "policy"),
        group="run",
    )
    steps: int = key(1_000_000, "updates in total", group="run")
    seed: int = key(0, "seed of the initial weights, the sampling and the augmentation", group="run")
    threads: int = key(0, "CPU threads; 0 leaves torch's choice", group="run")
    device: str = key(
        "auto", "cpu, cuda, or auto: cuda where there is one", choices=("auto", "cpu", "cuda"), group="run"
    )
    log_every: int = key(100, "updates per row of metrics.csv", group="run")
    checkpoint_every: int = key(500, "updates per checkpoints/latest.pt", group="run")
    snapshot_every: int = key(0, "updates per kept checkpoints/step_*.pt; 0 keeps none", group="run")
    eval_every: int = key(
        0, "updates per evaluation in the environment of --env, a multiple of log_every; 0: none", group="run"
    )
    eval_episodes: int = key(50, "episodes of each task in such an evaluation", group="run")

    observation: str = key(
        "auto",
        "pixels, state, features (of features_of), or auto: pixels where the store holds images",
        choices=("auto", "pixels", "state", "features"),
        group="data",
    )
    standardise: bool = key(
        True, "centre and scale states by the data's mean and deviation (official: false)", group="data"
    )
    action_scale: str = key(
        "quantiles",
        "which actions become -1 and 1: the data's 1 % and 99 % quantiles, or identity, -1 and 1 themselves (official)",
        choices=("quantiles", "identity"),
        group="data",
    )
    gripper_opens_early: int = key(
        0,
        "control steps by which the gripper is learned to open earlier than was recorded where a thing is put down",
        group="data",
    )
    features_of: str = key(
        "",
        "run folder (trained from pixels) or bundle (.onnx) whose image encoder, frozen, makes the observations; "
        "empty: none",
        group="data",
    )
    encoder_weights: str = key(
        "",
        "file of ImageNet's weights that an encoder named ..._imagenet begins with: torchvision's state dictionary; "
        "empty: none",
        group="networks",
    )
    camera: int = key(0, "index of the camera to learn from", group="data")
    validation_fraction: float = key(0.0, "share of the episodes held out for the val/ metrics", group="data")
    image_memory_mb: float = key(
        4096.0,
        "decode all images into memory (the GPU's where it trains) if they fit in this; else at each use",
        group="data",
    )
    image_cache_mb: float = key(
        0.0,
        "of images that are decoded at each use, keep so much in memory as they are encoded; the rest comes from the "
        "disk. 0: leave that to the system, which reads each again once other files have pushed it out",
        group="data",
    )
    image_workers: int = key(
        -1,
        "processes that decode images which are decoded at each use, ahead of it; the run does not depend on their "
        "number. -1: one per core beside a GPU, none without",
        group="data",
    )

    augment_kind: str = key(
        "shift",
        "how training images change: shift (with the keys below), or bridge: every row is cropped, resized and changed "
        "in brightness, contrast, saturation and hue as in BridgeData's own training",
        choices=("shift", "bridge"),
        group="augmentation",
    )
    augment_probability: float = key(
        0.0,
        "p_aug: probability that a batch of images is shifted (official value for manipulation from pixels: 0.5)",
        group="augmentation",
    )
    augment_padding: int = key(3, "largest shift in pixels", group="augmentation")
    augment_colour: float = key(
        0.0, "strength of brightness, contrast and tint changes in an augmented batch; 0 is off", group="augmentation"
    )
    feature_copies: int = key(
        1,
        "copies of the features of features_of, all but the first of images shifted by up to augment_padding; rows "
        "draw theirs",
        group="augmentation",
    )

    batch_size: int = key(256, "rows per update; every row meets the goals of all rows", group="optimiser")
    pictures_at_once: int = key(
        0,
        "an image encoder takes so many pictures at once while it learns, and computes them again for the gradient: "
        "less memory, a third more work, the same loss; 0: all of the batch",
        group="optimiser",
    )
    batch_scenes: int = key(
        0,
        "draw a batch's rows from so many scenes, so that rows meet goals on their own table; 0 draws from all",
        group="goals",
    )
    intervention_weight: float = key(
        1.0,
        "a frame in which an operator moved the arm begins a row so many times as often as another; 1: all alike",
        group="goals",
    )
    learning_rate: float = key(
        3e-4, "Adam's step size (betas 0.9 and 0.999, eps 1e-8, no weight decay)", group="optimiser"
    )
    actor_learning_rate: float = key(0.0, "that of the policies, where it differs; 0: the same", group="optimiser")
    schedule: str = key(
        "constant",
        "learning rate over the run: constant, or cosine down to 0",
        choices=("constant", "cosine"),
        group="optimiser",
    )
    warmup_steps: int = key(0, "updates over which the learning rate rises from 0", group="optimiser")
    average_decay: float = key(
        0.0,
        "keep a running mean of the weights with this decay for evaluation and export, such as 0.999; 0 is off",
        group="optimiser",
    )

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every", "eval_episodes", "feature_copies"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "warmup_steps",
            "augment_padding",
            "augment_colour",
            "image_memory_mb",
            "image_cache_mb",
            "snapshot_every",
            "eval_every",
            "threads",
            "camera",
            "batch_scenes",
            "pictures_at_once",
            "gripper_opens_early",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0.0 < self.intervention_weight <= 1000.0:
            raise ValueError(f"intervention_weight must lie above 0 and up to 1000, got {self.intervention_weight:g}")
        if self.image_workers < -1:
            raise ValueError(f"image_workers must be at least -1, got {self.image_workers}")
        if self.augment_kind == "bridge" and (self.augment_probability or self.augment_colour):
            raise ValueError(
                "augment_kind: bridge changes every row in its own way: leave augment_probability and "
                "augment_colour at 0"
            )
        if self.augment_kind == "bridge" and self.features_of:
            raise ValueError("augment_kind: bridge changes images, features_of makes features of them once")
        if self.eval_every % self.log_every:
            raise ValueError(f"eval_every ({self.eval_every}) must be a multiple of log_every ({self.log_every})")
        if self.features_of and self.observation == "state":
            raise ValueError("features_of needs images: leave observation at auto or pixels")
        if self.gripper_opens_early and self.action_scale == "identity":
            raise ValueError("gripper_opens_early: with action_scale: identity no number of an action is a gripper")
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(f"average_decay must lie in [0, 1), got {self.average_decay}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not self.actor_learning_rate >= 0:
            raise ValueError(f"actor_learning_rate must not be negative, got {self.actor_learning_rate}")
        if not 0.0 <= self.augment_probability <= 1.0 or not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError("augment_probability must lie in [0, 1] and validation_fraction in [0, 1)")


@dataclass(frozen=True)
class RunConfig:
    """The loop's configuration and the agent's (``MQEConfig`` for mqe)."""

    train: TrainConfig
    agent: ActorConfig

    def __post_init__(self) -> None:
        agent, scale = self.agent, self.train.action_scale
        require_their_encoder(self.train.encoder_weights, agent.encoder)
        if isinstance(agent, MQEConfig) and agent.alpha == agent.q_weight == 0.0:
            self._require_policy_that_stays(agent)
        if isinstance(agent, FlowConfig) and agent.actor == "flow" and agent.flow_gripper and scale == "identity":
            raise ValueError(
                "action_scale: identity knows no gripper among an action's numbers: set flow_gripper to false, or the "
                "flow would make its last number -1 or 1"
            )

    def _require_policy_that_stays(self, agent: MQEConfig) -> None:
        if self.train.begin_with != "policy":
            raise ValueError(
                "alpha and q_weight are both 0: the policy would learn nothing; one that is there already stays as it "
                "is with --begin-from FILE and begin_with: policy"
            )
        if agent.landmark_weight or agent.encoder_shared:
            raise ValueError(
                "alpha and q_weight are both 0, so that the policy stays as it is: leave landmark_weight at 0 and "
                "encoder_shared at false, which change it too"
            )

    def to_yaml(self) -> str:
        """Every key with its meaning, as `config.yaml` and `--show-config` have them."""
        return configuration.to_yaml(self.train, self.agent)


def make_config(values: dict[str, Any]) -> RunConfig:
    """A checked configuration from a flat mapping; ValueError with 'did you mean' for an unknown key.

    Keys that earlier versions had are ignored at the value that changed nothing; another value is a ValueError.
    """
    values = _without_removed(values)
    name = values.get("agent", "mqe")
    if not isinstance(name, str) or name not in AGENTS:
        near = difflib.get_close_matches(str(name), AGENTS, n=2, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"agent must be one of {', '.join(AGENTS)}, got {name!r}{hint}")
    agent_class = AGENTS[name][1]
    train_values, agent_values = configuration.split_values(values, TrainConfig, agent_class)
    return RunConfig(configuration.build(TrainConfig, train_values), configuration.build(agent_class, agent_values))


def keys_for(agent: str, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a preset or file, which may serve all agents, without the keys that only other agents have.

    Under ``agents`` a file may hold keys for one agent each; they count more than the file's others. ValueError where
    that is no mapping of agents to keys.
    """
    values = {name: value for name, value in values.items() if name != "agents"} | _of_agent(agent, values)
    if agent not in AGENTS:
        return values  # make_config says so
    own = {f.name for cls in (TrainConfig, AGENTS[agent][1]) for f in fields(cls)}
    others = {f.name for _, cls in AGENTS.values() for f in fields(cls)} - own
    skipped = sorted(others & values.keys())
    if skipped:
        logger.info("%s has no use for %s", agent, ", ".join(skipped))
    return {name: value for name, value in values.items() if name not in others}


def _of_agent(agent: str, values: dict[str, Any]) -> dict[str, Any]:
    each = values.get("agents", {})
    if not isinstance(each, dict) or not all(isinstance(keys, dict) for keys in each.values()):
        raise ValueError(f"agents must hold keys by the name of an agent, got {each!r}")
    if unknown := each.keys() - AGENTS.keys():
        raise ValueError(f"agents: there is no agent {sorted(map(str, unknown))[0]!r}, only {', '.join(AGENTS)}")
    return each.get(agent, {})


def _without_removed(values: dict[str, Any]) -> dict[str, Any]:
    for name, (default, remedy) in REMOVED_KEYS.items():
        if name in values and values[name] != default:
            raise ValueError(f"{name}: {values[name]} is no key of this version: {remedy}")
    return {name: value for name, value in values.items() if name not in REMOVED_KEYS}
