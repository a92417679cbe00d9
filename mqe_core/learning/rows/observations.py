"""Observations for training: what an agent sees of the frames of a store. Here: states; in pixels.py: images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.frames import Frames
from mqe_core.learning.rows.augmentation import ALL
from mqe_core.robot.arrays import Bools, Float32s, Ints

# A state dimension that never changes is centred but not amplified.
MIN_STATE_STD = 1e-3

Statistics = tuple[Tensor, Tensor]  # mean and standard deviation, each (S,)


@dataclass(frozen=True)
class ObservationSpec:
    """What an observation is: ``kind`` "pixels" with ``image_size`` (square, RGB), "state" with ``state_dim``, or
    "features" of pixels with both.
    """

    kind: str
    image_size: int = 0
    state_dim: int = 0


class Observations(ABC):
    """What is seen in the frames of a store, in the form that enters an agent.

    The frames of training rows are asked for by name ("observation", "actor_goal", ...): ``indices`` gives ``(B,)``
    frame numbers per name, the answer ``(B, H, W, 3) uint8`` or ``(B, S) float32`` per name, on the GPU where they lie
    there.
    """

    spec: ObservationSpec
    available: Bools  # (N,), which frames have an observation

    @abstractmethod
    def take(self, indices: Ints) -> Tensor:
        """``(...)`` frame numbers -> ``(..., H, W, 3) uint8`` or ``(..., S) float32``."""

    def statistics(self) -> Statistics | None:
        """By which an agent standardises what it sees; None for images."""
        return None

    def frames(self, indices: Mapping[str, Ints]) -> dict[str, Tensor]:
        """The frames as they are."""
        return by_name(indices, self.take(stacked(indices)))

    def begin_training_frames(
        self, rng: np.random.Generator, indices: Mapping[str, Ints], alike: Ints | None = None, own: slice = ALL
    ) -> Callable[[], dict[str, Tensor]]:
        """The frames of the rows ``own`` with random changes, where this kind of observation has them.

        All frames of a row change alike.
        All is drawn from ``rng`` at once, and does not depend on which frames are asked for. The frames are there when
        what comes back is called, and may be made meanwhile. Rows of one number in ``alike (B,)`` change alike, too,
        where they can.
        """
        return lambda: self.frames(rows_of(indices, own))

    @property
    def ahead(self) -> int:
        """How many batches of training frames gain from being begun before they are needed; more may not be."""
        return 0

    def close(self) -> None:
        """End what makes frames ahead, where something does."""
        return


def stacked(indices: Mapping[str, Ints]) -> Ints:
    """``(B,)`` per name -> ``(keys, B)``."""
    return np.stack(list(indices.values()))


def rows_of(indices: Mapping[str, Ints], own: slice) -> dict[str, Ints]:
    """``(B,)`` per name -> those of some rows."""
    return {name: frames[own] for name, frames in indices.items()}


def by_name(indices: Mapping[str, Ints], frames: Tensor) -> dict[str, Tensor]:
    """``(keys, B, ...)`` -> ``(B, ...)`` per name."""
    return dict(zip(indices, frames))


class StateObservations(Observations):
    """The store's state vectors; with a GPU as ``device`` they lie in its memory."""

    def __init__(self, store: Frames, device: torch.device = torch.device("cpu")) -> None:
        self._states = store.states
        self._on_gpu = None if device.type == "cpu" else torch.tensor(store.states, device=device)
        if self._states.shape[1] == 0:
            raise ValueError(f"{store.path} holds images only: set observation to pixels")
        self.available = np.ones(store.num_frames, dtype=bool)
        self.spec = ObservationSpec("state", state_dim=self._states.shape[1])

    def take(self, indices: Ints) -> Tensor:
        if self._on_gpu is not None:
            return self._on_gpu[torch.from_numpy(indices).to(self._on_gpu.device, non_blocking=True)]
        return torch.from_numpy(self._states[indices])

    def statistics(self) -> Statistics:
        """Over all frames of the store."""
        return standardisation(self._states)


def standardisation(vectors: Float32s) -> Statistics:
    """Mean and standard deviation of ``(n, S)``; what hardly changes is centred but not amplified."""
    return torch.from_numpy(vectors.mean(0)), torch.from_numpy(np.maximum(vectors.std(0), MIN_STATE_STD))
