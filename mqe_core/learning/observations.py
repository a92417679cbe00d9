"""Observations for training: states or images of a store by frame index, their action scale, and the image augmentation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

logger = logging.getLogger(__name__)

# A dimension that never moves (roll, in a task without it) still needs a finite scale: +-1 mm or 1 mrad around its value.
MIN_HALF_RANGE = 1e-3
# A state dimension that never changes is centred but not amplified.
MIN_STATE_STD = 1e-3
DECODE_CHUNK = 512


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation is: ``kind`` "pixels" with ``image_size`` (square, RGB), or "state" with ``state_dim``."""

    kind: str
    image_size: int = 0
    state_dim: int = 0


class Observations(Protocol):
    """Frames by index, in what the agent sees."""

    spec: ObservationSpec

    def take(self, indices: np.ndarray) -> np.ndarray:
        """``(n,)`` frame indices -> ``(n, H, W, 3) uint8`` or ``(n, S) float32``."""


class StateObservations:
    """The store's state vectors."""

    def __init__(self, store) -> None:
        self._states = np.asarray(store.states, dtype=np.float32)
        if not np.all(np.isfinite(self._states)):
            raise ValueError("the store has frames without a state (NaN): train from pixels (observation: pixels)")
        self.spec = ObservationSpec("state", state_dim=self._states.shape[1])

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self._states[indices]

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all frames, each ``(S,) float32``."""
        return self._states.mean(0), np.maximum(self._states.std(0), MIN_STATE_STD)


class PixelObservations:
    """The store's images, decoded once into memory where they fit, else decoded at each use."""

    def __init__(self, store, memory_limit_mb: float, camera: int = 0, progress: bool = True) -> None:
        if store.num_cameras < 1:
            raise ValueError("the store holds no images: train from states (observation: state)")
        self._store, self._camera = store, camera
        size = int(store.image_size)
        self.spec = ObservationSpec("pixels", image_size=size)
        self._cache: np.ndarray | None = None
        needed_mb = store.num_frames * size * size * 3 / 2**20
        if needed_mb > memory_limit_mb:
            logger.warning(
                "%d images of %d pixels need %.0f MB, more than image_memory_mb = %.0f: decoding at each use, which is slower",
                store.num_frames, size, needed_mb, memory_limit_mb,
            )  # fmt: skip
            return
        cache = np.empty((store.num_frames, size, size, 3), dtype=np.uint8)
        starts = range(0, store.num_frames, DECODE_CHUNK)
        for start in tqdm(starts, desc="decoding images", unit_scale=DECODE_CHUNK, unit="img", disable=not progress, leave=False):
            stop = min(start + DECODE_CHUNK, store.num_frames)
            cache[start:stop] = store.images(np.arange(start, stop), camera=camera)
        self._cache = cache

    def take(self, indices: np.ndarray) -> np.ndarray:
        if self._cache is not None:
            return self._cache[indices]
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


def random_crop(images: np.ndarray, offsets: np.ndarray, padding: int) -> np.ndarray:
    """Shift images by padding their edges and cropping back: ``(n, H, W, 3), offsets (n, 2) in 0..2*padding -> (n, H, W, 3)``."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    for row, (dy, dx) in enumerate(offsets):
        shifted[row] = padded[row, dy : dy + height, dx : dx + width]
    return shifted


def jitter_colours(images: np.ndarray, brightness: np.ndarray, contrast: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """``255 * (contrast * (v - 0.5) + 0.5 + brightness) * tint`` per image; factors ``(n,)``, ``(n,)`` and ``(n, 3)``."""
    value = np.arange(256, dtype=np.float32) / 255.0
    tone = contrast[:, None] * (value - 0.5) + 0.5 + brightness[:, None]  # (n, 256)
    table = np.clip(np.rint(255.0 * tone[:, None] * tint[:, :, None]), 0, 255).astype(np.uint8)  # (n, 3, 256)
    jittered = np.empty_like(images)
    for row in range(len(images)):
        for channel in range(3):
            jittered[row, ..., channel] = table[row, channel][images[row, ..., channel]]
    return jittered


@dataclass(frozen=True)
class Augmentation:
    """Random shift (and optionally colour) of a batch of image rows: every image of a row gets the same change."""

    probability: float = 0.0  # one coin per batch
    padding: int = 3  # pixels
    colour: float = 0.0  # strength: brightness and contrast +-colour, tint +-colour/2

    def __call__(self, rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
        """``(keys, B, H, W, 3) uint8`` -> the same shape. Draws from ``rng`` in the same order whatever the coin says."""
        keys, rows = images.shape[:2]
        apply = rng.random() < self.probability
        offsets = rng.integers(0, 2 * self.padding + 1, size=(rows, 2))
        brightness, contrast = rng.uniform(-self.colour, self.colour, (2, rows)).astype(np.float32)
        tint = 1.0 + rng.uniform(-self.colour / 2, self.colour / 2, (rows, 3)).astype(np.float32)
        if not apply:
            return images
        flat = images.reshape(keys * rows, *images.shape[2:])
        flat = random_crop(flat, np.tile(offsets, (keys, 1)), self.padding)
        if self.colour > 0.0:
            flat = jitter_colours(
                flat, np.tile(brightness, keys), 1.0 + np.tile(contrast, keys), np.tile(tint, (keys, 1))
            )
        return flat.reshape(images.shape)
