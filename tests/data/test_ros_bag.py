"""Promise: a recording becomes episodes whose actions, applied to the targets, give the targets that followed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from written_bag import Bag

from mqe_core.data.bag_messages import bag_files
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.geometry import apply_action, euler_to_rotation, make_pose, pose_to_state
from mqe_core.images import squash_resize
from mqe_core.runtime.safety_rules import GRIPPER, GRIPPER_EFFORT, TRANSLATION_STEP
from mqe_core.spec import RobotSpec


@pytest.fixture
def walk(spec: RobotSpec):
    """Records `count` commands along a wandering target; returns what happened."""

    def record(bag: Bag, count: int, *, session: str = "one", first: int = 1, seed: int = 0):
        rng = np.random.default_rng(seed)
        target = make_pose(euler_to_rotation(np.array([0.0, 0.1, 0.0])), np.array([0.3, 0.0, 0.15]))
        images, measured, targets, grippers = [], [], [], []
        for k in range(count):
            images.append(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
            measured.append(target.copy())
            measured[-1][:3, 3] += rng.normal(0, 0.005, 3)
            targets.append(target)
            grippers.append(float(k % 2))
            bag.image("/camera/image_raw", images[-1])
            bag.arm(measured[-1], target, 0.035 - 0.001 * k)
            bag.command(first + k, grippers[-1], session)
            target = apply_action(
                target, np.array([*rng.normal(0, 0.02, 3), *rng.normal(0, 0.1, 3), 1.0]), measured[-1]
            )
            bag.time += 0.2
        return images, measured, targets, grippers

    return record


def test_a_recording_becomes_an_episode_of_what_was_really_done(walk, spec: RobotSpec, tmp_path: Path) -> None:
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
def test_images_are_read_in_every_encoding_that_is_recorded(
    walk, spec: RobotSpec, tmp_path: Path, encoding: str
) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    bag.encoding = encoding
    images, *_ = walk(bag, 3)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert store.metadata["skipped"] == []
    np.testing.assert_array_equal(store.images([2])[0], squash_resize(images[2], 16))


def test_sessions_goals_gaps_and_lost_commands_begin_a_new_episode(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("real")
    walk(bag, 3)
    walk(bag, 4, session="two")
    bag.image("/goal/image", np.zeros((24, 32, 3), np.uint8))
    walk(bag, 5, session="two", first=5)
    bag.time += 1.0
    walk(bag, 2, session="two", first=10)
    walk(bag, 3, session="two", first=13)  # 12 was lost
    walk(bag, 1, session="three")  # one command makes no step
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 4, 5, 2, 3]
    assert store.metadata["domain"] == "real"


def test_a_command_without_its_image_is_left_out(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.command(4, 1.0, image_time=50.0)
    bag.time += 0.2
    walk(bag, 3, first=5)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [3, 3]


def test_what_the_arm_refused_is_no_demonstration(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for k in range(4):
        walk(bag, 3, first=1 + 3 * k)
        bag.status("held" if k == 1 else "", dry_run=k == 2)
    bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0).tolist() == [6, 3, 3]


def squeeze(bag: Bag, asked: list[float], kept: set[int]) -> None:
    """Commands of these grippers, from sequence 1 on; the arm closes no farther at those in `kept`."""
    for sequence, gripper in enumerate(asked, 1):
        bag.image("/camera/image_raw", np.zeros((24, 32, 3), np.uint8))
        bag.arm(np.eye(4), np.eye(4), 0.03)
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
        (
            [0.0, 0.0, 1.0, 0.2, 0.2],
            {1, 2},
            [1.0, 0.2],
        ),  # how far it was closed before the recording began is not in it
        (
            [0.4] + [0.0] * 153,
            set(range(2, 154)),
            [0.4] * 149 + [0.4, 0.4, 0.4],
        ),  # a long episode goes on in a second one
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


def test_a_second_node_that_is_refused_leaves_the_episode_whole(walk, spec: RobotSpec, tmp_path: Path) -> None:
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


def test_a_long_recording_goes_on_in_the_next_bag(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for name in ("day", "day-2", "day-10", "other"):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        walk(bag, 3)
        bag.writer.close()
    assert [file.parent.name for file in bag_files(tmp_path / "day")] == ["day", "day-2", "day-10"]
    store = import_episodes(open_source(tmp_path / "day"), tmp_path / "store", image_size=16, source_name="bag")
    assert store.num_episodes == 3


def test_a_bag_whose_recorder_was_killed_gives_what_it_holds(walk, spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    for session in range(400):
        walk(bag, 3, session=str(session), seed=session)
    bag.writer.storage.bio.flush()
    bag.writer.abort()  # neither index nor metadata
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert 100 < store.num_episodes <= 400
    (skipped,) = store.metadata["skipped"]
    assert skipped["name"].endswith("bag/bag.mcap") and skipped["episodes"] is None
    assert skipped["reason"].startswith("ends early: it breaks off")


def test_a_bag_that_is_cut_is_said_to_end_early(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for name, sessions in (("long", 300), ("short", 2)):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        for session in range(sessions):
            walk(bag, 3, session=str(session), seed=session)
        bag.writer.close()
        file = tmp_path / name / f"{name}.mcap"
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    store = import_episodes(open_source(tmp_path / "long"), tmp_path / "store", image_size=16, source_name="bag")
    assert 100 < store.num_episodes < 300
    assert [(entry["name"], entry["episodes"]) for entry in store.metadata["skipped"]] == [("long/long.mcap", None)]
    with pytest.raises(
        ValueError,
        match=r"no whole message of a policy node in /diagnostics; short/short.mcap ends early: it breaks off",
    ):
        import_episodes(open_source(tmp_path / "short"), tmp_path / "store2", image_size=16, source_name="bag")


@pytest.mark.parametrize(("byte", "what"), [(-15, "opcode"), (-14, "length"), (-6, "channel")])
def test_one_damaged_byte_that_loses_messages_is_said(
    walk, spec: RobotSpec, tmp_path: Path, byte: int, what: str
) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.time = lost = 200.0
    walk(bag, 3, session="two")
    bag.writer.close()
    file = tmp_path / "bag" / "bag.mcap"
    content = bytearray(file.read_bytes())
    times = struct.pack(
        "<QQ", int(1e9 * lost), int(1e9 * lost)
    )  # logged and published: how the first message of that moment goes on
    content[content.index(times) + byte] ^= 0xFF
    file.write_bytes(content)
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0)[0] == 3
    (skipped,) = store.metadata["skipped"]
    assert skipped["episodes"] is None and "damaged" in skipped["reason"], what


def test_recordings_of_two_domains_are_not_mixed(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for domain in ("sim", "real"):
        bag = Bag(tmp_path / domain, spec)
        bag.diagnostics(domain)
        walk(bag, 3)
        bag.writer.close()
    with pytest.raises(ValueError, match=r"domains \['real', 'sim'\]"):
        import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("dry", "a dry run: nothing was done"),
        ("idle", "no commands: no policy drove the arm"),
        ("blind", "nothing on /camera/image_raw was recorded"),
        ("refused", r"every command was refused \(held, wrong_session\)"),
        ("single", "no two commands in a row that were carried out: of 3, 1 were refused and 1 have no image"),
    ],
)
def test_a_recording_without_an_episode_says_why(spec: RobotSpec, tmp_path: Path, kind: str, reason: str) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    bag.arm(np.eye(4), np.eye(4), 0.03)
    for k in range(0 if kind == "idle" else 3):
        if kind != "blind" and (kind, k) != ("single", 1):
            bag.image("/camera/image_raw", np.zeros((24, 32, 3), np.uint8))
        bag.command(k + 1, 1.0)
        refused = {"refused": ("held", "held", "wrong_session")[k], "single": ("held", "", "")[k]}.get(kind, "")
        bag.status(refused, dry_run=kind == "dry", sequence=k + 1)
        bag.time += 0.2
    bag.writer.close()
    with pytest.raises(ValueError, match=f"no store is made; 1 skipped: {tmp_path.name}/bag/bag.mcap: {reason}"):
        import_episodes(open_source(tmp_path), tmp_path / "store", source_name="bag")


def test_an_empty_recording_beside_a_good_one_is_named_and_loses_nothing(walk, spec: RobotSpec, tmp_path: Path) -> None:
    for name, count in (("empty", 0), ("good", 3)):
        bag = Bag(tmp_path / name, spec)
        bag.diagnostics("sim")
        walk(bag, count)
        bag.writer.close()
    store = import_episodes(open_source(tmp_path), tmp_path / "store", source_name="bag")
    assert store.num_episodes == 1 and store.image_size == 24  # what 32x24 pixels have without being enlarged
    (skipped,) = store.metadata["skipped"]
    assert (
        skipped["name"].endswith("empty/empty.mcap") and skipped["episodes"] == 0 and "no commands" in skipped["reason"]
    )


def test_a_recording_without_a_policy_node_is_said(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.status("")
    bag.writer.close()
    with pytest.raises(ValueError, match="holds nothing that a policy node said in /diagnostics: none ran"):
        import_episodes(open_source(tmp_path), tmp_path / "store", source_name="bag")
