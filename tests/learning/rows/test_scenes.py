"""An episode comes to rest where its hand has arrived for good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.rows.scenes import stopping_frames
from mqe_core.learning.rows.training_data import TrainingData


def test_stopping_frames_are_those_after_which_the_hand_stays_near(tmp_path: Path) -> None:
    ways_m = (
        [0.0, 0.2, 0.1, 0.04, 0.01, 0.0],
        [0.01, 0.02, 0.0],
    )  # off the last position; the first passes it at its start, the second never leaves
    with EpisodeWriter(
        tmp_path / "store", image_size=16, source="tests/learning/rows/test_scenes.py", domain="sim"
    ) as writer:
        for number, way_m in enumerate(ways_m):
            states = np.zeros((len(way_m), 7))
            states[:, 1] = 0.3 + np.array(way_m)
            writer.add(Episode(f"episode{number}", states, np.zeros((len(way_m) - 1, 7)), {}, ()))
    store = EpisodeStore.open(tmp_path / "store")
    assert stopping_frames(store, 0.05).tolist() == [False, False, False, True, True, True, True, True, True]
    assert stopping_frames(store, 0.015).tolist() == [False, False, False, False, True, True, False, False, True]
    assert not stopping_frames(store, 0.0).any()


@pytest.mark.parametrize(("radius_m", "expected"), [(0.0, {3, 8}), (0.05, {3})])
def test_rows_at_rest_meet_the_goals_that_the_radius_leaves(
    tmp_path: Path, tiny_config, radius_m: float, expected: set[int]
) -> None:
    """Two episodes of one scene, the hand at one place all the time; frames 3 and 8 are the last valid ones."""
    with EpisodeWriter(
        tmp_path / "store", image_size=16, source="tests/learning/rows/test_scenes.py", domain="sim"
    ) as writer:
        for number in range(2):
            writer.add(Episode(f"2026-01-01/raw/traj{number}", np.zeros((5, 7)), np.zeros((4, 7)), {}, ()))
    keys = {
        "actor_goal_trajectory": 0.0,
        "actor_goal_scene": 1.0,
        "actor_stop_radius_m": radius_m,
        "actor_goals_crossed": True,
    }
    config = tiny_config(observation="state", validation_fraction=0.0, **keys)
    data = TrainingData(EpisodeStore.open(tmp_path / "store"), config, torch.device("cpu"))
    rows = data.sampler.sample(data.transitions, np.random.default_rng(0), 200)
    first = rows.observation < 4
    assert set(rows.frames["actor_goal"][first]) == expected
    pairs = data.transitions.crossed_pairs(rows.observation, rows.frames["actor_goal"])
    assert {int(rows.frames["actor_goal"][goal]) for row, goal in pairs if first[row]} == expected


def test_a_radius_that_would_do_nothing_or_is_none_is_refused(tiny_config) -> None:
    with pytest.raises(ValueError, match="needs goals of later episodes"):
        tiny_config(actor_stop_radius_m=0.05)
    with pytest.raises(ValueError, match="must not be negative"):
        tiny_config(actor_stop_radius_m=-0.05)
