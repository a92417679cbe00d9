"""Promise: a recording becomes episodes whose actions, applied to the targets, give the targets that followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.readers.bag_messages import bag_files
from mqe_core.images import squash_resize
from mqe_core.robot.geometry import TOOL_DOWN, apply_action, make_pose, pose_to_state
from mqe_core.robot.safety_rules import GRIPPER, GRIPPER_EFFORT, TRANSLATION_STEP
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk


def test_a_recording_becomes_an_episode_of_what_was_really_done(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    images, measured, targets, grippers = walk(bag, 6)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert store.metadata["format"] == "ros-bag" and store.metadata["domain"] == "sim" and store.num_frames == 6
    for k in range(5):
        np.testing.assert_allclose(apply_action(targets[k], store.actions[k], measured[k]), targets[k + 1], atol=1e-6)
        assert store.actions[k, 6] == grippers[k]
        np.testing.assert_allclose(store.states[k, :6], pose_to_state(measured[k], 0.0)[:6], atol=1e-6)
        assert store.states[k, 6] == pytest.approx(spec.gripper.gripper_value(0.035 - 0.001 * k))
    np.testing.assert_array_equal(store.images([2])[0], squash_resize(images[2], 16))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_images_are_read_in_every_encoding_that_is_recorded(spec: RobotSpec, tmp_path: Path, encoding: str) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    bag.encoding = encoding
    images, *_ = walk(bag, 3)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert store.metadata["skipped"] == []
    np.testing.assert_array_equal(store.images([2])[0], squash_resize(images[2], 16))


def test_sessions_goals_gaps_and_lost_commands_begin_a_new_episode(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("real")
    walk(bag, 3)
    walk(bag, 4, session="two")
    bag.image(ros_names.GOAL_IMAGE, np.zeros((24, 32, 3), np.uint8))
    walk(bag, 5, session="two", first=5)
    bag.time += 1.0
    walk(bag, 2, session="two", first=10)
    walk(bag, 3, session="two", first=13)  # 12 was lost
    walk(bag, 1, session="three")  # one command makes no step
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 4, 5, 2, 3]
    assert store.metadata["domain"] == "real"


def test_a_command_without_its_image_is_left_out(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.command(4, 1.0, image_time=50.0)
    bag.time += 0.2
    walk(bag, 3, first=5)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 3]


def test_what_the_arm_refused_is_no_demonstration(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for k in range(4):
        walk(bag, 3, first=1 + 3 * k)
        bag.status("held" if k == 1 else "", dry_run=k == 2)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [6, 3, 3]


DOWN = make_pose(TOOL_DOWN, np.array([0.3, 0.0, 0.1]))


def squeeze(bag: Bag, asked: list[float], kept: set[int]) -> None:
    """Commands of these grippers, from sequence 1 on; the arm closes no farther at those in `kept`."""
    for sequence, gripper in enumerate(asked, 1):
        bag.image(ros_names.IMAGE, np.zeros((24, 32, 3), np.uint8))
        bag.arm(DOWN, DOWN, 0.03)
        bag.command(sequence, gripper)
        bag.time += 0.1
        clipped = [
            TRANSLATION_STEP,
            *([GRIPPER_EFFORT] if sequence in kept else []),
            *([GRIPPER] if gripper > 1.0 else []),
        ]
        for _ in range(2):  # after the command, and as the newest one again
            bag.status("", sequence=sequence, clipped=clipped)
        bag.time += 0.1


@pytest.mark.parametrize(
    ("asked", "kept", "commanded"),
    [
        ([0.6, 0.0, 0.0, 1.2, 0.3, 0.0, 1.0], {2, 3, 6}, [0.6, 0.6, 0.6, 1.0, 0.3, 0.3]),
        # How far it was closed before the recording began is not in it.
        ([0.0, 0.0, 1.0, 0.2, 0.2], {1, 2}, [1.0, 0.2]),
        # A long episode goes on in a second one.
        ([0.4] + [0.0] * 153, set(range(2, 154)), [0.4] * 149 + [0.4, 0.4, 0.4]),
    ],
    ids=["within", "first", "long"],
)
def test_a_gripper_that_was_kept_from_closing_is_no_wish_of_the_policy(
    spec: RobotSpec, tmp_path: Path, asked: list[float], kept: set[int], commanded: list[float]
) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    squeeze(bag, asked, kept)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    np.testing.assert_allclose(store.actions[store.valid, 6], commanded)


def test_a_recording_of_a_squeeze_only_says_that_its_gripper_is_not_known(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    squeeze(bag, [0.0, 0.0, 0.0], {1, 2, 3})
    bag.writer.close()
    with pytest.raises(ValueError, match="of 3, 0 were refused and 3 have no image, pose or gripper of their moment"):
        import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")


def test_a_second_node_that_is_refused_leaves_the_episode_whole(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for k in range(6):
        walk(bag, 1, first=1 + k)
        bag.time -= 0.1
        bag.command(1 + k, 1.0, session="two", image_time=bag.time - 0.1)
        bag.status("wrong_session", sequence=1 + k, session="two")
        bag.time += 0.1
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [6]


def test_a_long_recording_goes_on_in_the_next_bag(spec: RobotSpec, tmp_path: Path) -> None:
    for seed, name in enumerate(("day", "day-2", "day-10", "other")):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        walk(bag, 3, seed=seed)
        bag.writer.close()
    assert [file.parent.name for file in bag_files(tmp_path / "day")] == ["day", "day-2", "day-10"]
    store = import_episodes(open_source(tmp_path / "day"), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_episodes == 3
