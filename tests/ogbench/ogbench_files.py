"""Small OGBench files, made as its scripts lay them out."""

from __future__ import annotations

import numpy as np


def make_arrays(lengths: tuple[int, ...] = (5, 3, 4), widths: tuple[int, int] = (2, 2), seed: int = 0) -> dict:
    """Trajectories of so many rows each: states (N, S), actions (N, A)."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    terminals = np.zeros(rows, dtype=bool)
    terminals[np.cumsum(lengths) - 1] = True
    return {
        "observations": rng.normal(size=(rows, widths[0])).astype(np.float32),
        "actions": rng.uniform(-1, 1, (rows, widths[1])).astype(np.float32),
        "terminals": terminals,
        "qpos": rng.normal(size=(rows, 3)).astype(np.float32),
        "qvel": rng.normal(size=(rows, 3)).astype(np.float32),
    }
