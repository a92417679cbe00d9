"""What a run learns from: a store's frames and actions as the batches of an agent."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.frames import Frames
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.rows.actions import ActionScale, fit_action_scale
from mqe_core.learning.rows.augmentation import ALL, Augmentation, ShiftAugmentation
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.bridge_augmentation import BridgeAugmentation
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.goal_sampling import GoalIndices, TransitionIndex
from mqe_core.learning.rows.gripper import opening_early
from mqe_core.learning.rows.held_out import held_out_frames
from mqe_core.learning.rows.landmarks import landmarks
from mqe_core.learning.rows.observations import Observations, StateObservations, rows_of
from mqe_core.learning.rows.pixels import PixelObservations
from mqe_core.learning.rows.scenes import scene_ends, stopping_frames
from mqe_core.learning.run.run_config import RunConfig, TrainConfig
from mqe_core.robot.arrays import Floats, Ints

logger = logging.getLogger(__name__)

MOST_CHANGES = 50_000  # frames of whose changes the size is taken


class TrainingData:
    """The rows of a store that training sees, and those that it holds out; ``sample`` makes a batch of either."""

    def __init__(
        self,
        store: Frames,
        config: RunConfig,
        device: torch.device,
        *,
        scale: ActionScale | None = None,
        encoder: ImageEncoder | None = None,
        progress: bool = True,
        ranks: Ranks = ALONE,
    ) -> None:
        """``device`` is the one that batches lie on. ``scale``: of the actions; fitted to what training sees where it
        is not given. ``encoder``: the frozen one that makes the observations, where there is one. ``ranks``: who trains
        this run; each loads the images of its own rows, or of all where rows meet each other's goals.
        """
        train, agent = config.train, config.agent
        self._config, self._device = config, device
        self.observations = _open_observations(store, train, encoder, device, progress)
        alone = ranks.world == 1 or self.observations.spec.kind != "pixels" or agent.actor_goals_crossed
        self._own = None if alone else ranks.rows(train.batch_size)
        valid = store.valid & self.observations.available
        held_out = held_out_frames(store, train.validation_fraction, train.seed)
        if held_out.all():
            raise ValueError(
                f"validation_fraction={train.validation_fraction:g} holds out all of the data's episodes "
                f"({store.num_episodes}), and nothing is left to train on: import more, or set validation_fraction=0"
            )
        ends = store.episode_ends, scene_ends(store), stopping_frames(store, agent.actor_stop_radius_m)
        self.transitions = TransitionIndex(valid & ~held_out, *ends, weights=_weights(store, train))
        self.held_out_transitions = TransitionIndex(valid & held_out, *ends) if held_out.any() else None
        if agent.tells_scenes and len(np.unique(self.transitions.scene(self.transitions.indices))) == 1:
            logger.warning(
                "the data shows one scene: there are no goals of others that could be told apart from its own"
            )
        self.action_scale = scale or fit_action_scale(
            store.actions[self.transitions.indices], identity=train.action_scale == "identity"
        )
        # NaN only at frames that are never drawn
        actions = opening_early(store, train.gripper_opens_early)
        self.actions = self.action_scale.normalise(actions)
        self._batch_actions = torch.from_numpy(self.actions).to(device)
        self.sampler = agent.sampler()
        self._landmarks = landmarks(store) if agent.landmark_weight > 0.0 else None

    def sample(self, rng: np.random.Generator, names: tuple[str, ...], *, held_out: bool = False) -> Batch:
        """One batch with the frames of these ``names``; what is held out comes as it is, the rest with random changes.

        What is drawn from ``rng`` does not depend on ``names``.
        """
        return self.begin(rng, names, held_out=held_out)()

    def begin(self, rng: np.random.Generator, names: tuple[str, ...], *, held_out: bool = False) -> Callable[[], Batch]:
        """As :meth:`sample`: all is drawn now, the batch is there when what comes back is called."""
        transitions = self.held_out_transitions if held_out else self.transitions
        assert transitions is not None, "nothing is held out"
        train, crossed = self._config.train, self._config.agent.actor_goals_crossed
        rows = self.sampler.sample(transitions, rng, train.batch_size, train.batch_scenes)
        missing = set(names) - rows.frames.keys()
        assert not missing, f"{train.agent} needs the frames {missing}, which its sampler does not draw"
        indices, own = {name: rows.frames[name] for name in names}, ALL if self._own is None else self._own
        frames: Callable[[], Mapping[str, Tensor]]
        if held_out:
            frames = partial(self.observations.frames, rows_of(indices, own))
        else:
            # Goals that are shared among the rows of a scene are changed as it is.
            alike = transitions.scene(rows.observation) if crossed else None
            frames = self.observations.begin_training_frames(rng, indices, alike, own)
        pairs = transitions.crossed_pairs(rows.observation, rows.frames["actor_goal"]) if crossed else None
        origin = np.stack([transitions.scene(rows.observation), rows.observation], axis=1)
        return partial(self._finish, rows, names, frames, pairs, origin)

    def changes(self, steps: int) -> Tensor:
        """By how much what is seen changes in so many steps, or up to its episode's end, ``(n, S) float32``: of at most
        MOST_CHANGES of the frames that training rows begin with, drawn alike whatever their weights.
        """
        frames = self.transitions.indices
        if len(frames) > MOST_CHANGES:
            frames = np.random.default_rng(0).choice(frames, MOST_CHANGES, replace=False)
        return self.observations.take(self.transitions.ahead(frames, steps)) - self.observations.take(frames)

    def _finish(
        self,
        rows: GoalIndices,
        names: tuple[str, ...],
        frames: Callable[[], Mapping[str, Tensor]],
        pairs: Ints | None,
        origin: Ints,
    ) -> Batch:
        seen = frames()
        if self._own is not None:
            seen = {name: _among(own, self._own, len(rows.observation)) for name, own in seen.items()}
        return Batch(
            frames=seen,
            steps={name: torch.from_numpy(rows.steps_to(name).astype(np.float32)) for name in names},
            actions=self._batch_actions[torch.from_numpy(rows.observation).to(self._device, non_blocking=True)],
            actor_pairs=None if pairs is None else torch.from_numpy(pairs),
            landmarks=None if self._landmarks is None else torch.from_numpy(self._landmarks[rows.observation]),
            origin=torch.from_numpy(origin) if self._config.agent.tells_scenes else None,
            own=self._own,
        ).to(self._device)


def _weights(store: Frames, train: TrainConfig) -> Floats | None:
    """``(N,)``: how likely each frame begins a row; None: all alike."""
    if train.intervention_weight == 1.0:
        return None
    operated = store.operated
    if not operated.any():
        logger.warning("no frame of the data was moved by an operator, as far as it tells: intervention_weight is idle")
    return np.where(operated, train.intervention_weight, 1.0)


def _among(own: Tensor, where: slice, rows: int) -> Tensor:
    """A rank's own frames ``(b, ...)`` at their place in a batch ``(B, ...)``, whose others are never looked at."""
    whole = own.new_empty(rows, *own.shape[1:])
    whole[where] = own
    return whole


def _open_observations(
    store: Frames, train: TrainConfig, encoder: ImageEncoder | None, device: torch.device, progress: bool
) -> Observations:
    """What the agent sees of a store: features of the frozen encoder where there is one, else pixels or states."""
    if encoder is not None:
        return FeatureObservations(
            store,
            train.camera,
            encoder,
            device,
            copies=train.feature_copies,
            padding=train.augment_padding,
            progress=progress,
        )
    if train.observation == "pixels" or (train.observation == "auto" and store.num_cameras > 0):
        return PixelObservations(
            store,
            train.camera,
            train.image_memory_mb,
            augmentation=_augmentation(train),
            workers=_image_workers(train, device),
            cache_mb=train.image_cache_mb,
            progress=progress,
            device=device,
        )
    return StateObservations(store, device)


def _augmentation(train: TrainConfig) -> Augmentation:
    if train.augment_kind == "bridge":
        return BridgeAugmentation()
    return ShiftAugmentation(train.augment_probability, train.augment_padding, train.augment_colour)


def _image_workers(train: TrainConfig, device: torch.device) -> int:
    """Processes that decode: by default one per core beside a GPU; on the CPU they would take from the update."""
    if train.image_workers >= 0:
        return train.image_workers
    return 0 if device.type == "cpu" else len(os.sched_getaffinity(0))
