"""An episode comes to rest where its hand has arrived for good."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.episode_store import Episode, EpisodeStore, EpisodeWriter
from mqe_core.learning.scenes import stopping_frames


def test_stopping_frames_are_those_after_which_the_hand_stays_near(tmp_path: Path) -> None:
    ways_m = ([0.0, 0.2, 0.1, 0.04, 0.01, 0.0], [0.01, 0.02, 0.0])  # off the last position; the first passes it at its start, the second never leaves
    with EpisodeWriter(tmp_path / "store", image_size=16, source="tests/learning/test_scenes.py", domain="sim") as writer:
        for number, way_m in enumerate(ways_m):
            states = np.zeros((len(way_m), 7))
            states[:, 1] = 0.3 + np.array(way_m)
            writer.add(Episode(f"episode{number}", states, np.zeros((len(way_m) - 1, 7)), {}, ()))
    store = EpisodeStore.open(tmp_path / "store")
    assert stopping_frames(store, 0.05).tolist() == [False, False, False, True, True, True, True, True, True]
    assert stopping_frames(store, 0.015).tolist() == [False, False, False, False, True, True, False, False, True]
    assert not stopping_frames(store, 0.0).any()
