"""Observations for training: states or images of a store by frame index, and the scale of its actions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mqe_core.data.episode_store import EpisodeStore

logger = logging.getLogger(__name__)

# A dimension that never moves (roll, in a task without it) still needs a finite scale: +-1 mm or 1 mrad around its value.
MIN_HALF_RANGE = 1e-3
# A state dimension that never changes is centred but not amplified.
MIN_STATE_STD = 1e-3
DECODE_CHUNK = 512


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation is: ``kind`` "pixels" with ``image_size`` (square, RGB), "state" with ``state_dim``, or "features" of pixels with both."""

    kind: str
    image_size: int = 0
    state_dim: int = 0


class Observations(Protocol):
    """Frames by index, in what the agent sees."""

    spec: ObservationSpec
    available: np.ndarray  # (N,) bool: which frames have an observation

    def take(self, indices: np.ndarray) -> np.ndarray | Tensor:
        """``(n,)`` frame indices -> ``(n, H, W, 3) uint8`` or ``(n, S) float32``; a tensor on the GPU where they lie there."""


class StateObservations:
    """The store's state vectors."""

    def __init__(self, store: EpisodeStore) -> None:
        self._states = store.states
        self.available = np.ones(store.num_frames, dtype=bool)
        self.spec = ObservationSpec("state", state_dim=self._states.shape[1])

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self._states[indices]

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all frames, each ``(S,) float32``."""
        return self._states.mean(0), np.maximum(self._states.std(0), MIN_STATE_STD)


class PixelObservations:
    """One camera's images, decoded once into memory where they fit, else decoded at each use.

    With a GPU as `device` that memory is its own, and ``take`` gives tensors there: an update then waits for no image.
    """

    def __init__(
        self,
        store: EpisodeStore,
        camera: int,
        memory_limit_mb: float,
        progress: bool = True,
        device: torch.device = torch.device("cpu"),
    ) -> None:
        if camera not in store.cameras:
            raise ValueError(
                f"the store has cameras {list(store.cameras)}, not {camera}: set camera to one of them, or observation to state"
            )
        self._store, self._camera = store, camera
        self.available = store.has_image(camera)  # (N,) all frames of an episode, or none
        size = store.image_size
        self.spec = ObservationSpec("pixels", image_size=size)
        self._cache: np.ndarray | Tensor | None = None
        frames = np.flatnonzero(self.available)
        needed_mb = len(frames) * size * size * 3 / 2**20
        if needed_mb > memory_limit_mb:
            logger.warning(
                "%d images of %d pixels need %.0f MB, more than image_memory_mb = %.0f: decoding at each use, which is slower",
                len(frames), size, needed_mb, memory_limit_mb,
            )  # fmt: skip
            return
        self._rows = np.cumsum(self.available) - 1  # of the cache, by frame: absent images take no memory
        cache = np.empty((len(frames), size, size, 3), dtype=np.uint8)
        with tqdm(total=len(frames), desc="decoding images", unit="img", disable=not progress, leave=False) as bar:
            for chunk in np.array_split(frames, range(DECODE_CHUNK, len(frames), DECODE_CHUNK)):
                cache[self._rows[chunk]] = store.images(chunk, camera=camera)
                bar.update(len(chunk))
        self._cache = cache if device.type == "cpu" else torch.from_numpy(cache).to(device)

    def take(self, indices: np.ndarray) -> np.ndarray | Tensor:
        if isinstance(self._cache, Tensor):
            return self._cache[torch.from_numpy(self._rows[indices]).to(self._cache.device)]
        if self._cache is not None:
            return self._cache[self._rows[indices]]
        return self._store.images(indices, camera=self._camera)


@dataclass(frozen=True)
class ActionScale:
    """Affine map between physical actions and the agent's [-1, 1], per dimension."""

    low: np.ndarray  # (A,) float32, the physical action that becomes -1
    high: np.ndarray  # (A,) float32, the physical action that becomes +1

    def normalise(self, actions: np.ndarray) -> np.ndarray:
        """``(..., A)`` physical -> ``(..., A)`` in [-1, 1]; what lies outside the scale is clipped."""
        return np.clip(2.0 * (actions - self.low) / (self.high - self.low) - 1.0, -1.0, 1.0).astype(np.float32)


def fit_action_scale(actions: np.ndarray) -> ActionScale:
    """The 1 % and 99 % quantiles of the motion ``(n, 7)``; the gripper, last, is stated: 0 closed to 1 open."""
    if len(actions) == 0 or not np.all(np.isfinite(actions)):
        raise ValueError(f"the action scale needs finite actions of valid frames, got {len(actions)} rows")
    low, high = np.quantile(actions.astype(np.float64), [0.01, 0.99], axis=0)
    middle, half_range = (low + high) / 2, np.maximum((high - low) / 2, MIN_HALF_RANGE)
    low, high = middle - half_range, middle + half_range
    low[-1], high[-1] = 0.0, 1.0
    return ActionScale(low.astype(np.float32), high.astype(np.float32))
