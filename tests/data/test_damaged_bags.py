"""A bag that is damaged, or holds no episode, is named with the reason; what it does hold is kept."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mqe_core import ros_names
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk


def test_a_bag_whose_recorder_was_killed_gives_what_it_holds(spec: RobotSpec, tmp_path: Path) -> None:
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


def test_a_bag_that_is_cut_is_said_to_end_early(spec: RobotSpec, tmp_path: Path) -> None:
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
def test_one_damaged_byte_that_loses_messages_is_said(spec: RobotSpec, tmp_path: Path, byte: int, what: str) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.time = lost = 200.0
    walk(bag, 3, session="two")
    bag.writer.close()
    file = tmp_path / "bag" / "bag.mcap"
    content = bytearray(file.read_bytes())
    # Logged and published: how the first message of that moment goes on.
    times = struct.pack("<QQ", int(1e9 * lost), int(1e9 * lost))
    content[content.index(times) + byte] ^= 0xFF
    file.write_bytes(content)
    store = import_episodes(open_source(tmp_path), tmp_path / "store", image_size=16, source_name="bag")
    assert np.diff(store.episode_ends, prepend=0)[0] == 3
    (skipped,) = store.metadata["skipped"]
    assert skipped["episodes"] is None and "damaged" in skipped["reason"], what


def test_recordings_of_two_domains_are_not_mixed(spec: RobotSpec, tmp_path: Path) -> None:
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
        ("idle", "no commands: neither a policy nor an operator drove the arm"),
        ("blind", "nothing on /camera/image_raw was recorded"),
        ("refused", r"every command was refused \(held, wrong_session\)"),
        ("single", "no two commands in a row that were carried out: of 3, 1 were refused and 1 have no image"),
    ],
)
def test_a_recording_without_an_episode_says_why(spec: RobotSpec, tmp_path: Path, kind: str, reason: str) -> None:
    bag = Bag(tmp_path / "bag", spec)
    bag.names_images = False
    bag.diagnostics("sim")
    bag.arm(np.eye(4), np.eye(4), 0.03)
    for k in range(0 if kind == "idle" else 3):
        if kind != "blind" and (kind, k) != ("single", 1):
            bag.image(ros_names.IMAGE, np.zeros((24, 32, 3), np.uint8))
        bag.command(k + 1, 1.0)
        refused = {"refused": ("held", "held", "wrong_session")[k], "single": ("held", "", "")[k]}.get(kind, "")
        bag.status(refused, dry_run=kind == "dry", sequence=k + 1)
        bag.time += 0.2
    bag.writer.close()
    with pytest.raises(ValueError, match=f"no store is made; 1 skipped: {tmp_path.name}/bag/bag.mcap: {reason}"):
        import_episodes(open_source(tmp_path), tmp_path / "store", source_name="bag")


def test_an_empty_recording_beside_a_good_one_is_named_and_loses_nothing(spec: RobotSpec, tmp_path: Path) -> None:
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
