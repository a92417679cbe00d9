"""A store of a few tables, for what tells scenes apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter


def store_of(path: Path, scenes: int) -> EpisodeStore:
    """Two episodes of 8 frames on each table, of states that count their steps."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, image_size=16) as writer:
        for scene in range(scenes):
            table = rng.normal(size=7)
            for episode in range(2):
                states = rng.normal(table, 0.01, (8, 7))
                states[:, 0] = np.arange(8) + 8 * episode
                writer.add(Episode(f"table{scene}/raw/traj{episode}", states, rng.normal(size=(7, 7)), {}))
    return EpisodeStore.open(path)
