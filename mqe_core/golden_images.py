"""The image pairs of a bundle's golden check: a stored one, and one made of hash bytes."""

from __future__ import annotations

import hashlib

import numpy as np


def golden_pairs(size: int, example: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The stored pair and the counter pair as two batches (2, size, size, 3) uint8: observations, goals."""
    return tuple(np.stack([stored, counter_image(size, number)]) for number, stored in enumerate(example))


def counter_image(size: int, number: int) -> np.ndarray:
    """(size, size, 3) uint8 of hash bytes, BLAKE2b of a counter: the same everywhere, with no image library
    involved.
    """
    needed = size * size * 3
    blocks = (
        hashlib.blake2b(f"mqe golden image {number} block {i}".encode()).digest() for i in range(-(-needed // 64))
    )
    return np.frombuffer(b"".join(blocks)[:needed], dtype=np.uint8).reshape(size, size, 3)


def drawn_image(size: int, number: int) -> np.ndarray:
    """(size, size, 3) uint8: a ramp with a disc, another place for each number; a picture where no real one
    is at hand.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    disc = (x - 0.3 - 0.3 * number) ** 2 + (y - 0.5) ** 2 < 0.02
    return np.stack([np.where(disc, 220, 90 + 60 * x), np.where(disc, 40, 80 + 80 * y), 100 + 0 * x], axis=-1).astype(
        np.uint8
    )
