"""A gripper that is learned to open early where something is put down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.frames import Frames
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.rows.gripper import opening_early
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer

CARRIED = [0.02, 0.02, 0.10, 0.10, 0.06, 0.02, 0.02, 0.10]  # heights of the hand, m
HELD = [0.02, 0.02, 0.038, 0.03, 0.02, 0.02, 0.02, 0.10]  # as at a handle: it comes down by 18 mm
GRIPPER = [1, 0, 0, 0, 0, 1, 1]


def store_of(folder: Path, *episodes: tuple[list[float], list[int]]) -> EpisodeStore:
    """Of each episode the heights of the hand and the commands of the gripper, one less."""
    with EpisodeWriter(folder, image_size=8, source="test", domain="sim") as writer:
        for number, (heights, gripper) in enumerate(episodes):
            states, actions = np.zeros((len(heights), 7)), np.zeros((len(gripper), 7))
            states[:, 2], actions[:, -1] = heights, gripper
            pictures = [np.zeros((8, 8, 3), np.uint8)] * len(heights)
            writer.add(Episode(f"e{number}", states, actions, {0: pictures}))
    return EpisodeStore.open(folder)


def test_it_opens_earlier_where_something_is_put_down_and_closes_when_it_did(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", (CARRIED, GRIPPER), (HELD, GRIPPER), (CARRIED, GRIPPER))
    changed = opening_early(store, 2)
    early = [1, 0, 0, 1, 1, 1, 1, 0]  # the last frame has no action
    assert changed[:, -1].tolist() == [*early, *GRIPPER, 0, *early]
    assert (changed[:, :-1] == np.nan_to_num(store.actions)[:, :-1]).all()
    assert opening_early(store, 0)[:, -1].tolist() == [*GRIPPER, 0] * 3
    assert opening_early(store, 100)[:, -1].tolist() == [*[1] * 7, 0, *GRIPPER, 0, *[1] * 7, 0]


def test_no_episode_takes_it_from_another(tmp_path: Path) -> None:
    """The first ends with the thing held high, the second begins low with an open gripper."""
    held, free = ([0.02, 0.10, 0.10], [0, 0]), ([0.02, 0.02, 0.02], [1, 1])
    assert opening_early(store_of(tmp_path / "store", held, free), 2)[:, -1].tolist() == [0, 0, 0, 1, 1, 0]


def test_each_hold_of_an_episode_counts_for_itself(tmp_path: Path) -> None:
    """One that begins with the thing in the hand, close above its target; then the gripper closes again at a handle."""
    heights, gripper = [0.045, 0.045, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02], [0, 0, 1, 1, 0, 0, 1]
    changed = opening_early(store_of(tmp_path / "store", (heights, gripper)), 1)
    assert changed[:, -1].tolist() == [0, 1, 1, 1, 0, 0, 1, 0]


def test_a_run_learns_it(tmp_path: Path, tiny_config: Callable[..., RunConfig]) -> None:
    store = store_of(tmp_path / "store", *[(CARRIED, GRIPPER)] * 4)
    plain, early = (
        Trainer(store, tiny_config(observation="state", gripper_opens_early=steps), progress=False).data.actions
        for steps in (0, 2)
    )
    assert (early[:, :-1] == plain[:, :-1]).all()
    assert (early[:, -1] > plain[:, -1]).sum() == 2 * 4


def test_what_cannot_be_is_refused(tiny_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(ValueError, match="gripper_opens_early must not be negative"):
        tiny_config(gripper_opens_early=-1)
    with pytest.raises(ValueError, match="no number of an action is a gripper"):
        tiny_config(gripper_opens_early=1, action_scale="identity")


def test_data_of_no_arm_is_refused() -> None:
    frames = SimpleNamespace(states=np.zeros((4, 0)), actions=np.zeros((4, 7)), path="here")
    with pytest.raises(ValueError, match="gripper_opens_early needs the states and actions of an arm"):
        opening_early(cast("Frames", frames), 1)
