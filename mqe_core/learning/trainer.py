"""One training run in memory: its configuration, and the trainer that turns batches of a store into updates of an agent."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from mqe_core.data.episode_store import EpisodeStore
from mqe_core.learning import config as configuration
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.augmentation import Augmentation
from mqe_core.learning.batch import Batch
from mqe_core.learning.checkpoint import MetricMeans
from mqe_core.learning.config import key
from mqe_core.learning.features import FeatureObservations
from mqe_core.learning.goal_sampling import TransitionIndex
from mqe_core.learning.landmarks import landmarks
from mqe_core.learning.networks import ImageEncoder
from mqe_core.learning.observations import ActionScale, PixelObservations, StateObservations, fit_action_scale
from mqe_core.learning.scenes import scene_ends, stopping_frames

logger = logging.getLogger(__name__)

VALIDATION_BATCHES = 4


@dataclass(frozen=True)
class TrainConfig:
    """What the loop itself needs; the agent's own keys stand beside these in a configuration file."""

    agent: str = key("mqe", "algorithm", choices=tuple(AGENTS))
    observation: str = key(
        "auto", "pixels, state, or auto: pixels where the store holds images", choices=("auto", "pixels", "state")
    )
    features_of: str = key(
        "",
        "run folder (trained from pixels) or bundle (.onnx) whose image encoder, frozen, makes the observations; empty: none",
    )
    actor_from_encoder: bool = key(
        False, "let the policy begin as that of features_of, where both have a policy of images seen alone"
    )
    feature_copies: int = key(
        1, "copies of those features, all but the first of images shifted by up to augment_padding; rows draw theirs"
    )
    camera: int = key(0, "index of the camera to learn from")
    steps: int = key(1_000_000, "updates in total")
    batch_size: int = key(256, "rows per update; every row meets the goals of all rows")
    batch_scenes: int = key(
        0, "draw a batch's rows from so many scenes, so that rows meet goals on their own table; 0 draws from all"
    )
    learning_rate: float = key(3e-4, "Adam's step size (betas 0.9 and 0.999, eps 1e-8, no weight decay)")
    schedule: str = key(
        "constant", "learning rate over the run: constant, or cosine down to 0", choices=("constant", "cosine")
    )
    warmup_steps: int = key(0, "updates over which the learning rate rises from 0")
    frozen_convolutions: int = key(
        0, "first outer convolutions of the image encoders, each with what follows it, that keep the weights of --init"
    )
    average_decay: float = key(
        0.0, "keep a running mean of the weights with this decay for evaluation and export, such as 0.999; 0 is off"
    )
    seed: int = key(0, "seed of the initial weights, the sampling and the augmentation")
    augment_probability: float = key(
        0.0, "p_aug: probability that a batch of images is shifted (official value for manipulation from pixels: 0.5)"
    )
    augment_padding: int = key(3, "largest shift in pixels")
    augment_colour: float = key(
        0.0, "strength of brightness, contrast and tint changes in an augmented batch; 0 is off"
    )
    validation_fraction: float = key(0.0, "share of the episodes held out for the val/ metrics")
    image_memory_mb: float = key(
        4096.0, "decode all images into memory (the GPU's where it trains) if they fit in this; else at each use"
    )
    log_every: int = key(100, "updates per row of metrics.csv")
    checkpoint_every: int = key(500, "updates per checkpoints/latest.pt")
    snapshot_every: int = key(0, "updates per kept checkpoints/step_*.pt; 0 keeps none")
    threads: int = key(0, "CPU threads; 0 leaves torch's choice")
    device: str = key("auto", "cpu, cuda, or auto: cuda where there is one", choices=("auto", "cpu", "cuda"))

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every", "feature_copies"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "warmup_steps", "augment_padding", "augment_colour", "image_memory_mb", "snapshot_every", "threads", "camera", "batch_scenes",
            "frozen_convolutions",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.actor_from_encoder and not self.features_of:
            raise ValueError("actor_from_encoder needs features_of")
        if self.features_of and self.observation == "state":
            raise ValueError("features_of needs images: leave observation at auto or pixels")
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(f"average_decay must lie in [0, 1), got {self.average_decay}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0.0 <= self.augment_probability <= 1.0 or not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError("augment_probability must lie in [0, 1] and validation_fraction in [0, 1)")


@dataclass(frozen=True)
class RunConfig:
    """The loop's configuration and the agent's (``MQEConfig`` for mqe)."""

    train: TrainConfig
    agent: Any

    def to_yaml(self) -> str:
        return configuration.to_yaml(self.train, self.agent)


def make_config(values: dict[str, Any]) -> RunConfig:
    """A checked configuration from a flat mapping; ValueError with 'did you mean' for an unknown key."""
    name = values.get("agent", "mqe")
    if name not in AGENTS:
        raise ValueError(f"agent must be one of {', '.join(AGENTS)}, got {name!r}")
    agent_class = AGENTS[name][1]
    train_values, agent_values = configuration.split_values(values, TrainConfig, agent_class)
    return RunConfig(configuration.build(TrainConfig, train_values), configuration.build(agent_class, agent_values))


def keys_for(agent: str, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a preset or file, which may serve all agents, without the keys that only other agents have."""
    if agent not in AGENTS:
        return values  # make_config says so
    own = {f.name for cls in (TrainConfig, AGENTS[agent][1]) for f in fields(cls)}
    others = {f.name for _, cls in AGENTS.values() for f in fields(cls)} - own
    skipped = sorted(others & values.keys())
    if skipped:
        logger.info("%s has no use for %s", agent, ", ".join(skipped))
    return {name: value for name, value in values.items() if name not in others}


class Trainer:
    """Everything that changes during a run: networks, optimiser, random state, step; ``update`` moves it by one batch."""

    def __init__(
        self,
        store: EpisodeStore,
        config: RunConfig,
        progress: bool = True,
        scale: ActionScale | None = None,
        encoder: ImageEncoder | None = None,
    ) -> None:
        """``scale``: of the actions; fitted to the data where it is not given. ``encoder``: the frozen one of ``features_of``."""
        self.config = config
        train = config.train
        if train.threads:
            torch.set_num_threads(train.threads)
        if train.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device is cuda, and torch sees no GPU here: install a torch with CUDA, or leave device at auto"
            )
        wants_cuda = train.device == "cuda" or (train.device == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda" if wants_cuda else "cpu")
        torch.manual_seed(train.seed)
        self.rng = np.random.default_rng(train.seed)
        self.step = 0
        self.means = MetricMeans()

        self.observations = _observations(store, train, encoder, progress, self.device)
        statistics = None
        if self.observations.spec.kind != "pixels":
            statistics = tuple(torch.from_numpy(array) for array in self.observations.statistics())
        valid = store.valid & self.observations.available
        held_out = _held_out_frames(store, train.validation_fraction, train.seed)
        ends = store.episode_ends, scene_ends(store), stopping_frames(store, config.agent.actor_stop_radius_m)
        self.transitions = TransitionIndex(valid & ~held_out, *ends)
        self.validation_transitions = TransitionIndex(valid & held_out, *ends) if held_out.any() else None
        self.action_scale = scale or fit_action_scale(store.actions[self.transitions.indices])
        self.actions = self.action_scale.normalise(
            np.nan_to_num(store.actions)
        )  # NaN only at frames that are never drawn
        self.landmarks = landmarks(store) if config.agent.landmark_weight > 0.0 else None
        self.augmentation = Augmentation(train.augment_probability, train.augment_padding, train.augment_colour)
        self.sampler = config.agent.sampler()
        self.agent = AGENTS[train.agent][0](config.agent, self.observations.spec, self.actions.shape[1], statistics)
        self.agent.to(self.device)
        encoders = [module for module in self.agent.modules() if isinstance(module, ImageEncoder)]
        if train.frozen_convolutions and not encoders:
            raise ValueError(
                f"frozen_convolutions needs an agent with an image encoder; this one sees {self.observations.spec.kind}"
            )
        for encoder in encoders:
            encoder.freeze(train.frozen_convolutions)
        self.optimiser = torch.optim.Adam(self.agent.parameters(), lr=train.learning_rate, fused=True)
        self.restart_average()

    def sample(self, transitions: TransitionIndex, rng: np.random.Generator, augment: bool = True) -> Batch:
        """One batch on the training device."""
        train = self.config.train
        rows = self.sampler.sample(transitions, rng, train.batch_size, train.batch_scenes)
        keys = np.stack([rows.observation, rows.waypoint, rows.value_goal, rows.actor_goal])  # (4, B)
        if augment and train.feature_copies > 1 and self.observations.spec.kind == "features":
            copies = rng.integers(train.feature_copies, size=train.batch_size)
            frames = self.observations.take(keys.reshape(-1), np.tile(copies, len(keys)))
        else:
            frames = self.observations.take(keys.reshape(-1))
        frames = frames.reshape(*keys.shape, *frames.shape[1:])
        if augment and self.observations.spec.kind == "pixels":
            # Goals that are shared among the rows of a scene are shifted as it is.
            alike = transitions.scene(rows.observation) if self.config.agent.actor_goals_crossed else None
            frames = self.augmentation(rng, frames, alike)
        observations, waypoints, value_goals, actor_goals = torch.as_tensor(frames)
        return Batch(
            observations=observations,
            actions=torch.from_numpy(self.actions[rows.observation]),
            waypoints=waypoints,
            waypoint_steps=torch.from_numpy(rows.waypoint_steps.astype(np.float32)),
            value_goals=value_goals,
            at_value_goal=torch.from_numpy(rows.value_goal == rows.observation),
            actor_goals=actor_goals,
            actor_pairs=torch.from_numpy(transitions.crossed_pairs(rows))
            if self.config.agent.actor_goals_crossed
            else None,
            landmarks=None if self.landmarks is None else torch.from_numpy(self.landmarks[rows.observation]),
        ).to(self.device)

    def restart_average(self) -> None:
        """Begin the running mean of the weights with what they are now."""
        self.average = (
            [parameter.detach().clone() for parameter in self.agent.parameters()]
            if self.config.train.average_decay
            else []
        )

    def update(self) -> None:
        """One batch, one Adam step; RuntimeError when the loss is not finite."""
        batch = self.sample(self.transitions, self.rng)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        loss, metrics = self.agent.loss(batch)
        if not math.isfinite(loss.item()):
            raise RuntimeError(
                f"the loss is {loss.item()} at step {self.step}: lower learning_rate, and look for broken actions in the data; "
                "the last checkpoint is intact"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.agent.after_update()
        self.step += 1
        if self.average:
            # Early on the mean is short, so that it forgets the initial weights.
            decay = min(self.config.train.average_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, parameter in zip(self.average, self.agent.parameters()):
                    mean.lerp_(parameter, 1.0 - decay)
        self.means.add({"loss": loss.detach(), **metrics})

    def validate(self) -> dict[str, float]:
        """Mean metrics on the held-out episodes, on the same rows each time, unshifted; empty where nothing is held out."""
        if self.validation_transitions is None:
            return {}
        means, rng = MetricMeans(), np.random.default_rng(self.config.train.seed + 1)
        with torch.no_grad():
            for _ in range(VALIDATION_BATCHES):
                means.add(self.agent.loss(self.sample(self.validation_transitions, rng, augment=False))[1])
        return {f"val/{name}": value for name, value in means.take().items()}

    def _learning_rate(self) -> float:
        train = self.config.train
        rate = train.learning_rate
        if train.schedule == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * min(self.step / train.steps, 1.0)))
        if self.step < train.warmup_steps:
            rate *= (self.step + 1) / train.warmup_steps
        return rate

    def policy_weights(self) -> dict[str, torch.Tensor]:
        """The agent's state for evaluation and export: with the running mean of its parameters where one is kept."""
        names = [name for name, _ in self.agent.named_parameters()]
        return {**self.agent.state_dict(), **dict(zip(names, self.average))}

    def state(self) -> dict[str, Any]:
        """Everything that ``restore`` needs to continue bit for bit."""
        return {
            "step": self.step,
            "agent": self.agent.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "numpy_rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
            "metric_sums": self.means.sums,
            "metric_count": self.means.count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.step = state["step"]
        self.agent.load_state_dict(state["agent"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = [mean.to(self.device) for mean in state.get("average", ())]
        self.rng.bit_generator.state = state["numpy_rng"]
        torch.set_rng_state(state["torch_rng"])
        self.means.sums, self.means.count = dict(state["metric_sums"]), state["metric_count"]


def _observations(
    store: EpisodeStore, train: TrainConfig, encoder: ImageEncoder | None, progress: bool, device: torch.device
) -> FeatureObservations | PixelObservations | StateObservations:
    """What the agent sees of a store: features of the frozen encoder where there is one, else pixels or states."""
    if encoder is not None:
        copies, padding = train.feature_copies, train.augment_padding
        return FeatureObservations(
            store, train.camera, encoder, device, copies=copies, padding=padding, progress=progress
        )
    if train.observation == "pixels" or (train.observation == "auto" and store.num_cameras > 0):
        return PixelObservations(store, train.camera, train.image_memory_mb, progress, device)
    return StateObservations(store)


def held_out_episodes(store: EpisodeStore, fraction: float, seed: int) -> np.ndarray:
    """Numbers of the episodes that training with this `validation_fraction` and `seed` does not see, ascending."""
    count = int(math.ceil(fraction * store.num_episodes)) if fraction > 0 else 0
    return np.sort(np.random.default_rng(seed).permutation(store.num_episodes)[:count])


def _held_out_frames(store: EpisodeStore, fraction: float, seed: int) -> np.ndarray:
    """``(N,) bool``: frames of the held-out episodes."""
    chosen = np.zeros(store.num_episodes, dtype=bool)
    chosen[held_out_episodes(store, fraction, seed)] = True
    return np.repeat(chosen, np.diff(store.episode_ends, prepend=0))
