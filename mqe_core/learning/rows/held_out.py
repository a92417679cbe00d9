"""Which episodes training does not see."""

from __future__ import annotations

import math

import numpy as np

from mqe_core.data.frames import Frames
from mqe_core.robot.arrays import Bools, Ints


def held_out_episodes(store: Frames, fraction: float, seed: int) -> Ints:
    """Numbers of the episodes that training with this `validation_fraction` and `seed` does not see, ascending."""
    count = int(math.ceil(fraction * store.num_episodes)) if fraction > 0 else 0
    return np.sort(np.random.default_rng(seed).permutation(store.num_episodes)[:count])


def held_out_frames(store: Frames, fraction: float, seed: int) -> Bools:
    """``(N,)``: frames of the held-out episodes."""
    chosen = np.zeros(store.num_episodes, dtype=bool)
    chosen[held_out_episodes(store, fraction, seed)] = True
    return np.repeat(chosen, np.diff(store.episode_ends, prepend=0))
