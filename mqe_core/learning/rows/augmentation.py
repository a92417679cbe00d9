"""Random shifts and colour changes of image batches; every image of a training row gets the same change.

Images in NumPy arrays or in tensors, changed where they lie: a GPU's never leave it. What is drawn is drawn before the
images are there, so that they may be decoded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

ImageArray: TypeAlias = np.ndarray | Tensor
ALL = slice(None)  # rows
Change: TypeAlias = Callable[[ImageArray], ImageArray]  # (keys, B, H, W, 3) uint8 -> the same shape


class Augmentation(Protocol):
    """What draws how training images change."""

    def draw(self, rng: np.random.Generator, rows: int, alike: np.ndarray | None = None, own: slice = ALL) -> Change:
        """The change of the rows ``own`` of a batch of ``rows``. Draws from ``rng`` in the same order whatever comes of
        it.

        Rows of one number in ``alike (B,)`` get the same change.
        """


def first_alike(alike: np.ndarray) -> np.ndarray:
    """``(B,)``: for each row the first one with its number."""
    _, first, same = np.unique(alike, return_index=True, return_inverse=True)
    return first[same]


def random_crop(images: ImageArray, offsets: np.ndarray, padding: int) -> ImageArray:
    """Shift images by padding their edges and cropping back: ``(n, H, W, 3), offsets (n, 2) in 0..2*padding -> (n, H,
    W, 3)``.
    """
    height, width = images.shape[1:3]
    if isinstance(images, Tensor):
        top_left = torch.from_numpy(offsets - padding).to(images.device)
        rows = (top_left[:, :1] + torch.arange(height, device=images.device)).clamp(0, height - 1)  # (n, H)
        columns = (top_left[:, 1:] + torch.arange(width, device=images.device)).clamp(0, width - 1)
        image = torch.arange(len(images), device=images.device)
        return images[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="edge")
    shifted = np.empty_like(images)
    for row, (dy, dx) in enumerate(offsets):
        shifted[row] = padded[row, dy : dy + height, dx : dx + width]
    return shifted


def jitter_colours(images: ImageArray, brightness: np.ndarray, contrast: np.ndarray, tint: np.ndarray) -> ImageArray:
    """``255 * (contrast * (v - 0.5) + 0.5 + brightness) * tint`` per image; factors ``(n,)``, ``(n,)`` and ``(n,
    3)``.
    """
    value = np.arange(256, dtype=np.float32) / 255.0
    tone = contrast[:, None] * (value - 0.5) + 0.5 + brightness[:, None]  # (n, 256)
    table = np.clip(np.rint(255.0 * tone[:, None] * tint[:, :, None]), 0, 255).astype(np.uint8)  # (n, 3, 256)
    if isinstance(images, Tensor):
        tables = torch.from_numpy(table).to(images.device)
        flat = images.reshape(len(images), -1, 3)  # a table is looked up by pixel and channel
        return tables.transpose(1, 2).gather(1, flat.long()).reshape(images.shape)
    jittered = np.empty_like(images)
    for row in range(len(images)):
        for channel in range(3):
            jittered[row, ..., channel] = table[row, channel][images[row, ..., channel]]
    return jittered


@dataclass(frozen=True)
class ShiftAugmentation:
    """Random shift (and optionally colour) of a batch of image rows: every image of a row gets the same change."""

    probability: float = 0.0  # one coin per batch
    padding: int = 3  # pixels
    colour: float = 0.0  # strength: brightness and contrast +-colour, tint +-colour/2

    def draw(self, rng: np.random.Generator, rows: int, alike: np.ndarray | None = None, own: slice = ALL) -> Change:
        """As :class:`Augmentation`."""
        apply = rng.random() < self.probability
        offsets = rng.integers(0, 2 * self.padding + 1, size=(rows, 2))
        brightness, contrast = rng.uniform(-self.colour, self.colour, (2, rows)).astype(np.float32)
        tint = 1.0 + rng.uniform(-self.colour / 2, self.colour / 2, (rows, 3)).astype(np.float32)
        if not apply:
            return lambda images: images
        chosen = (np.arange(rows) if alike is None else first_alike(alike))[own]
        offsets, brightness, contrast, tint = offsets[chosen], brightness[chosen], contrast[chosen], tint[chosen]

        def change(images: ImageArray) -> ImageArray:
            keys, rows = images.shape[:2]
            flat = images.reshape(keys * rows, *images.shape[2:])
            flat = random_crop(flat, np.tile(offsets, (keys, 1)), self.padding)
            if self.colour > 0.0:
                flat = jitter_colours(
                    flat, np.tile(brightness, keys), 1.0 + np.tile(contrast, keys), np.tile(tint, (keys, 1))
                )
            return flat.reshape(images.shape)

        return change
