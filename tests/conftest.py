"""Fixtures for the whole suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode_store import Episode, EpisodeWriter


@pytest.fixture(scope="session")
def synthetic_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny EpisodeStore: 6 episodes of 12 frames, one camera of 32 pixels, seeded; read-only by agreement."""
    path = tmp_path_factory.mktemp("synthetic") / "store"
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, image_size=32, source="tests/conftest.py", domain="sim") as writer:
        for i in range(6):
            states = rng.normal([0.3, 0.0, 0.1, 0, 0, 0, 0.5], 0.05, size=(12, 7))
            actions = rng.normal(0.0, [0.01] * 3 + [0.03] * 3 + [0.0], size=(11, 7))
            actions[:, 6] = rng.integers(0, 2, size=11)
            frames = [rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8) for _ in range(12)]
            writer.add(Episode(f"episode{i}", states, actions, {0: frames}, (f"task {i % 2}",)))
    return path
