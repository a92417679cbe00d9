"""Small episodes of random numbers and pictures, and stores of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter

# What a clone without Git LFS leaves in the place of a large file.
LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a2146' * 8}\nsize 123456\n".encode()


def made_episode(
    index: int, num_frames: int = 5, cameras: tuple[int, ...] = (0,), size: int = 16, **changes
) -> Episode:
    rng = np.random.default_rng(index)
    fields = {
        "name": f"episode{index}",
        "states": rng.normal(size=(num_frames, 7)),
        "actions": rng.normal(size=(num_frames - 1, 7)),
        "images": {
            c: [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(num_frames)] for c in cameras
        },
        "languages": (f"task {index}",),
    }
    return Episode(**{**fields, **changes})


def write_store(path: Path, episodes: list[Episode], **options) -> EpisodeStore:
    with EpisodeWriter(path, **{"image_size": 16, "source": "test", **options}) as writer:
        for episode in episodes:
            writer.add(episode)
    return EpisodeStore.open(path)
