"""Promise: of a recording with marks only the kept episodes count, and each is one, whoever moved the arm in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.geometry import apply_action
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk

TAKEN_OVER = "operator"


@pytest.fixture
def bag(spec: RobotSpec, tmp_path: Path) -> Iterator[Bag]:
    (tmp_path / "bags").mkdir()
    bag = Bag(tmp_path / "bags" / "bag", spec)
    bag.diagnostics("sim")
    bag.mark("")  # the recorder starts
    yield bag


def imported(bag: Bag) -> EpisodeStore:
    bag.writer.close()
    folder = bag.folder.parent
    return import_episodes(open_source(folder), folder.with_name("store"), image_size=16, source_name="bags")


def lengths(store: EpisodeStore) -> list[int]:
    return np.diff(store.episode_ends, prepend=0).tolist()


def test_without_a_mark_all_of_it_counts(bag: Bag) -> None:
    walk(bag, 4)
    assert lengths(imported(bag)) == [4]


def test_what_lies_outside_is_left_out_and_counted(bag: Bag) -> None:
    walk(bag, 3)
    bag.mark("start")
    walk(bag, 4, first=4)
    bag.mark("stop")
    walk(bag, 5, first=8)
    store = imported(bag)
    assert lengths(store) == [4]
    assert [skipped.reason.partition(":")[0] for skipped in store.skipped] == ["8 commands are left out"]


def test_a_discarded_episode_is_none_also_when_it_is_discarded_later(bag: Bag) -> None:
    for k, marks in enumerate((("stop", "discard"), ("stop",), ("discard",))):
        bag.mark("start")
        walk(bag, 3 + k, session=f"operator-{k}", by_hand=True)
        bag.time += 1.0
        for mark in marks:
            bag.mark(mark)
    assert lengths(imported(bag)) == [4]


def test_a_label_is_the_episodes_instruction(bag: Bag) -> None:
    bag.mark("start")
    walk(bag, 3)
    bag.mark("stop")
    bag.time += 1.0
    bag.mark("label", "put the cube on the plate")
    assert imported(bag).languages == [["put the cube on the plate"]]


def test_an_episode_that_never_ended_is_kept(bag: Bag) -> None:
    """The recorder was killed, or stopped."""
    bag.mark("start")
    walk(bag, 3)
    assert lengths(imported(bag)) == [3]


def test_a_take_over_within_an_episode_is_one_episode_and_says_whose_each_frame_is(bag: Bag) -> None:
    bag.mark("start")
    *_, targets, _ = walk(bag, 4)
    *_, after, _ = walk(bag, 5, session="operator-1", by_hand=True, begin=targets[-1], seed=1)
    bag.status(TAKEN_OVER, sequence=4)
    bag.time += 2.0  # he lets go, and goes on
    walk(bag, 3, session="operator-1", first=6, by_hand=True, begin=after[-1], seed=2)
    bag.mark("stop")
    store = imported(bag)
    assert lengths(store) == [12] and store.operated.tolist() == [False] * 4 + [True] * 8
    assert np.abs(store.actions[store.valid][:, :3]).max() < 0.1


def test_the_policys_refused_commands_after_a_take_over_are_no_frames(bag: Bag) -> None:
    bag.mark("start")
    *_, targets, _ = walk(bag, 4)
    bag.time -= 0.1
    walk(bag, 1, session="operator-1", by_hand=True, begin=targets[-1])
    bag.time -= 0.1
    bag.command(5, 1.0)
    bag.status(TAKEN_OVER, sequence=5)
    bag.time += 0.1
    walk(bag, 3, session="operator-1", first=2, by_hand=True, begin=targets[-1])
    bag.mark("stop")
    store = imported(bag)
    assert lengths(store) == [8] and store.operated.tolist() == [False] * 4 + [True] * 4


def test_where_the_arm_was_moved_meanwhile_the_episode_is_two(bag: Bag) -> None:
    bag.mark("start")
    walk(bag, 3, session="operator-1", by_hand=True)
    bag.time += 2.0
    away = np.eye(4)
    away[:3, 3] = (0.2, 0.2, 0.2)  # homed
    walk(bag, 4, session="operator-1", first=4, by_hand=True, begin=away)
    bag.mark("stop")
    assert lengths(imported(bag)) == [3, 4]


def test_joined_actions_lead_from_each_target_to_the_next(bag: Bag) -> None:
    bag.mark("start")
    _, measured, targets, _ = walk(bag, 3, session="operator-1", by_hand=True)
    bag.time += 1.5
    _, more, later, _ = walk(bag, 3, session="operator-1", first=4, by_hand=True, begin=targets[-1], seed=3)
    bag.mark("stop")
    store = imported(bag)
    every, poses = [*targets, *later], [*measured, *more]
    for k in range(5):
        np.testing.assert_allclose(apply_action(every[k], store.actions[k], poses[k]), every[k + 1], atol=1e-6)


def test_two_recordings_have_marks_of_their_own(bag: Bag, spec: RobotSpec) -> None:
    bag.mark("start")
    walk(bag, 3)
    bag.mark("discard")
    second = Bag(bag.folder.with_name("other"), spec)
    second.time = 200.0
    second.diagnostics("sim")
    walk(second, 5)
    second.writer.close()
    assert lengths(imported(bag)) == [5]


def test_marks_that_do_not_fit_change_nothing(bag: Bag) -> None:
    for mark in ("stop", "discard", "label", "jump"):
        bag.mark(mark)
    walk(bag, 3)
    assert lengths(imported(bag)) == [3]
