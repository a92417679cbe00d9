"""Landmarks are the hand now and where the gripper next changes, in one scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.rows.landmarks import WIDTH, landmarks

GRIPPERS = ([1, 1, 0, 0, 1, 1, 1], [1, 1, 1], [0, 1])  # commands; an episode has one frame more


@pytest.fixture()
def store(tmp_path: Path) -> EpisodeStore:
    rng = np.random.default_rng(0)
    with EpisodeWriter(
        tmp_path / "store", image_size=16, source="tests/learning/rows/test_landmarks.py", domain="sim"
    ) as writer:
        for number, gripper in enumerate(GRIPPERS):
            states = rng.normal(size=(len(gripper) + 1, 7))
            actions = np.zeros((len(gripper), 7))
            actions[:, 6] = gripper
            writer.add(Episode(f"episode{number}", states, actions, {}, ()))
    return EpisodeStore.open(tmp_path / "store")


def test_landmarks_equal_the_obvious_version(store: EpisodeStore) -> None:
    values = landmarks(store)
    assert values.shape == (store.num_frames, WIDTH) and values.dtype == np.float32
    hand, start = store.states[:, :3], 0
    expected = []
    for gripper in GRIPPERS:
        for t in range(len(gripper) + 1):
            later = [k for k in range(1, len(gripper)) if k >= t and gripper[k] != gripper[k - 1]]
            expected.append(hand[start + (later[0] if later else len(gripper))])
        start += len(gripper) + 1
    mean, std = hand.mean(0), hand.std(0)
    np.testing.assert_allclose(values[:, :3], (hand - mean) / std, atol=1e-5)
    np.testing.assert_allclose(values[:, 4:], (np.array(expected) - mean) / std, atol=1e-5)
    np.testing.assert_allclose(
        values[:, 3], (store.states[:, 6] - store.states[:, 6].mean()) / store.states[:, 6].std(), atol=1e-5
    )
