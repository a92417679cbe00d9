"""Promise: what an operator did in a recording becomes episodes too, and the store tells frame by frame who did it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.cli import main
from mqe_core.data.episode import Episode
from mqe_core.data.episode_rules import EpisodeRules
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store import layout
from mqe_core.data.store.commanders import from_runs, is_runs, runs_of
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.robot.geometry import apply_action
from mqe_core.robot.ranks import OPERATOR, POLICY
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, picture, walk

BOTH = (POLICY, POLICY, OPERATOR, OPERATOR)


def imported(folder: Path) -> EpisodeStore:
    return import_episodes(open_source(folder / "bag"), folder / "store", image_size=16, source_name="bag")


def test_an_operators_commands_are_an_episode_of_what_the_camera_showed(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    images, measured, targets, grippers = walk(bag, 6, session="operator-1", by_hand=True)
    bag.writer.close()
    store = imported(tmp_path)
    assert store.num_frames == 6 and store.operated.all()
    for k in range(5):
        np.testing.assert_allclose(apply_action(targets[k], store.actions[k], measured[k]), targets[k + 1], atol=1e-6)
        assert store.actions[k, 6] == grippers[k]
    np.testing.assert_array_equal(store.images(np.array([2]))[0], squash_resize(images[2], 16))


def test_a_take_over_gives_both_parts_and_says_whose_each_frame_is(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 4)
    for k in range(5):  # the policy goes on asking, and is refused
        walk(bag, 1, session="operator-1", first=1 + k, by_hand=True, seed=k)
        bag.time -= 0.1
        bag.command(5 + k, 1.0)
        bag.status("operator", sequence=5 + k)
        bag.time += 0.1
    bag.image(ros_names.GOAL_IMAGE, picture(0))  # a new goal of the policy is none of the operator's
    walk(bag, 2, session="operator-1", first=6, by_hand=True)
    bag.writer.close()
    store = imported(tmp_path)
    assert np.diff(store.episode_ends, prepend=0).tolist() == [5, 7]  # the refused command's frame is the policy's last
    assert store.operated.tolist() == [False] * 5 + [True] * 7
    lines = [json.loads(line) for line in (tmp_path / "store" / layout.EPISODES_FILE).read_text().splitlines()]
    assert [line["commanders"] for line in lines] == [[[POLICY, 5]], [[OPERATOR, 7]]]


def test_an_operators_frame_without_a_fresh_image_is_left_out(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3, session="operator-1", by_hand=True)
    bag.time += 0.4  # the camera hangs
    bag.operator_command(4, 1.0, "operator-1")
    bag.time += 0.1
    walk(bag, 3, session="operator-1", first=5, by_hand=True)
    bag.writer.close()
    store = imported(tmp_path)
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 3]
    assert any("their images are not in the recording" in skipped.reason for skipped in store.skipped)


def test_how_much_was_done_by_hand_is_told(spec: RobotSpec, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    walk(bag, 4, session="operator-1", by_hand=True)
    bag.writer.close()
    imported(tmp_path)
    assert main(["data", "info", str(tmp_path / "store")]) == 0
    assert "  by hand      4 frames" in capsys.readouterr().out


def test_stores_without_the_names_are_nobodys(tmp_path: Path, synthetic_store: Path) -> None:
    assert not EpisodeStore.open(synthetic_store).operated.any()


def test_the_names_survive_an_append_and_a_rule_that_cuts(spec: RobotSpec, tmp_path: Path) -> None:
    for name, by_hand in (("bag", False), ("more", True)):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        walk(bag, 4, by_hand=by_hand)
        bag.writer.close()
    imported(tmp_path)
    assert main(["data", "append", str(tmp_path / "store"), str(tmp_path / "more")]) == 0
    assert EpisodeStore.open(tmp_path / "store").operated.tolist() == [False] * 4 + [True] * 4
    cut = EpisodeRules(drop_first=1)(Episode("one", np.zeros((4, 7)), np.zeros((3, 7)), commanders=BOTH))
    assert cut is not None and cut.commanders == BOTH[1:]


def test_names_that_do_not_fit_are_refused(tmp_path: Path, spec: RobotSpec) -> None:
    with pytest.raises(ValueError, match="expected 3 commanders"):
        Episode("one", np.zeros((3, 7)), np.zeros((2, 7)), commanders=(OPERATOR,) * 2)
    with pytest.raises(ValueError, match="each one of policy, operator"):
        Episode("one", np.zeros((3, 7)), np.zeros((2, 7)), commanders=("somebody",) * 3)
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 4, by_hand=True)
    bag.writer.close()
    imported(tmp_path)
    file = tmp_path / "store" / layout.EPISODES_FILE
    file.write_text(file.read_text().replace('"operator", 4', '"operator", 9'))
    with pytest.raises(ValueError, match="commanders of 9 frames, in an episode of 4"):
        _ = EpisodeStore.open(tmp_path / "store").operated


@pytest.mark.parametrize("runs", [3, "x", [["operator"]], [["somebody", 2]], [["policy", 0]], [["policy", True]]])
def test_runs_of_other_forms_are_none(runs: object) -> None:
    assert not is_runs(runs)


def test_runs_and_names_say_the_same() -> None:
    names = (POLICY, POLICY, OPERATOR, POLICY)
    assert is_runs(runs_of(names)) and from_runs(runs_of(names), 4) == names
    assert runs_of(()) == [] and from_runs([], 7) == ()
