"""The image pairs of a bundle's golden check: a stored one, and one made of hash bytes."""

from __future__ import annotations

import hashlib

import numpy as np

from mqe_core.robot.arrays import Images


def golden_pairs(size: int, example: tuple[Images, Images]) -> tuple[Images, Images]:
    """The stored pair and the counter pair as two batches (2, size, size, 3) uint8: observations, goals."""
    observation, goal = example
    return np.stack([observation, counter_image(size, 0)]), np.stack([goal, counter_image(size, 1)])


def counter_image(size: int, number: int) -> Images:
    """(size, size, 3) uint8 of hash bytes, BLAKE2b of a counter.

    It is the same on every machine, whatever its image library.
    """
    needed = size * size * 3
    blocks = (
        hashlib.blake2b(f"mqe golden image {number} block {i}".encode()).digest() for i in range(-(-needed // 64))
    )
    return np.frombuffer(b"".join(blocks)[:needed], dtype=np.uint8).reshape(size, size, 3)


def drawn_image(size: int, number: int) -> Images:
    """(size, size, 3) uint8: a ramp with a disc whose place depends on `number`.

    It stands in where no photograph is at hand.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    disc = (x - 0.3 - 0.3 * number) ** 2 + (y - 0.5) ** 2 < 0.02
    red, green, blue = np.where(disc, 220, 90 + 60 * x), np.where(disc, 40, 80 + 80 * y), 100 + 0 * x
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)
