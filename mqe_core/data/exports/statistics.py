"""The statistics that a LeRobot data set states of each feature, of each episode and of all rows together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from mqe_core.robot.arrays import AnyArray, Floats, Images

Statistics: TypeAlias = "dict[str, AnyArray]"

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_STRIDE = 4  # of the pixels that an image's statistics are taken from


def of_rows(values: AnyArray) -> Statistics:
    """(T,) or (T, D) numbers → each statistic (D,), the extremes in the numbers' own type; `count` (1,) is T."""
    return _of(values.reshape(len(values), -1), len(values))


def of_images(frames: Images) -> Statistics:
    """(T, H, W, 3) uint8 → each statistic (3, 1, 1), of pixels from 0 to 1; `count` (1,) is T."""
    pixels = frames[:, ::_STRIDE, ::_STRIDE].reshape(-1, 3) / 255.0
    found = _of(pixels, len(frames))
    return {key: value if key == "count" else value.reshape(3, 1, 1) for key, value in found.items()}


def together(parts: Sequence[Statistics]) -> Statistics:
    """Of several episodes. Mean and deviation are those of all rows; a quantile is the mean of the episodes' quantiles,
    as `lerobot` has it.
    """
    counts = np.array([part["count"][0] for part in parts])
    weights = counts / counts.sum()

    def mean(key: str) -> Floats:
        return np.asarray(np.tensordot(weights, np.stack([part[key] for part in parts]), axes=1))

    middle = mean("mean")
    spread = np.stack([part["std"] ** 2 + (part["mean"] - middle) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": middle,
        "std": np.sqrt(np.tensordot(weights, spread, axes=1)),
        "count": np.array([counts.sum()]),
        **{key: mean(key) for key in QUANTILES},
    }


def as_lists(by_feature: dict[str, Statistics]) -> dict[str, dict[str, list[object]]]:
    """For JSON and parquet."""
    return {name: {key: value.tolist() for key, value in found.items()} for name, found in by_feature.items()}


def _of(values: AnyArray, count: int) -> Statistics:
    """(n, D) numbers."""
    rows: Floats = values.astype(np.float64)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([count]),
        **{key: np.quantile(rows, share, axis=0) for key, share in QUANTILES.items()},
    }
