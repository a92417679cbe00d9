"""Promise: what was recorded is listed quickly and played, while it grows too; what is broken is named."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mqe_core import images, ros_names
from mqe_core.console.recorded_bags import Recorded
from mqe_core.console.recordings import BAG, DRIVE, Recordings
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, picture, walk


@pytest.fixture
def bag(spec: RobotSpec, tmp_path: Path) -> Bag:
    (tmp_path / "bags").mkdir()
    return Bag(tmp_path / "bags" / "day", spec)


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Recordings(tmp_path / "bags")


def three_episodes(bag: Bag) -> list[np.ndarray]:
    """Two that are kept, the second with a label, and one that is discarded: the first one's pictures."""
    bag.mark("")
    walk(bag, 2)
    bag.mark("start")
    shown = walk(bag, 5, seed=1)[0]
    bag.mark("stop")
    bag.time += 1.0
    bag.mark("start")
    walk(bag, 3, seed=2)
    bag.mark("discard")
    bag.time += 1.0
    bag.mark("start")
    walk(bag, 4, seed=3)
    bag.mark("stop")
    bag.mark("label", "puts the cup down")
    return shown


def test_marked_episodes_are_listed_and_played(bag: Bag, recordings: Recordings) -> None:
    shown = three_episodes(bag)
    bag.writer.close()
    (row,) = recordings.rows()
    assert (row.name, row.kind) == ("day", BAG) and row.num_bytes > 10_000
    contents = recordings.contents("day")
    assert contents.problem == ""
    assert [(one.number, one.pictures, one.label, one.is_kept) for one in contents.episodes] == [
        (1, 5, "", True),
        (2, 3, "", False),
        (3, 4, "puts the cup down", True),
    ]
    assert contents.episodes[0].seconds == pytest.approx(1.0, abs=0.01)
    for number in (0, 4, -1):
        assert np.array_equal(recordings.picture("day", 1, number), shown[number])
    assert images.decode(recordings.jpeg("day", 3, 0)).shape == (24, 32, 3)
    assert recordings.thumbnail("day", 2) != recordings.thumbnail("day", 1)


@pytest.mark.parametrize(("episode", "number"), [(1, 5), (1, -6), (0, 0), (4, 0), (1, 10**9)])
def test_what_is_not_there_is_said(bag: Bag, recordings: Recordings, episode: int, number: int) -> None:
    three_episodes(bag)
    bag.writer.close()
    with pytest.raises(ValueError, match="has no episode|there is none of number"):
        recordings.picture("day", episode, number)


def test_without_marks_all_of_it_is_one(bag: Bag, recordings: Recordings) -> None:
    walk(bag, 6)
    bag.writer.close()
    assert recordings.contents("day").episodes == (Recorded(0, pytest.approx(1.0, abs=0.3), 6),)


def test_compressed_pictures_are_shown(bag: Bag, recordings: Recordings) -> None:
    data = np.frombuffer(images.encode_png(picture(3)), np.uint8)
    for _ in range(2):
        message = bag.make("sensor_msgs/msg/CompressedImage", header=bag.header(), format="png", data=data)
        bag.write(ros_names.COMPRESSED_IMAGE, message)
        bag.time += 0.2
    bag.writer.close()
    assert np.array_equal(recordings.picture("day", 0, -1), picture(3))


def large(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)  # nearly a chunk


def test_a_recording_is_played_while_it_grows(bag: Bag, recordings: Recordings) -> None:
    bag.mark("start")
    seen = []
    for number in range(8):
        bag.image(ros_names.IMAGE, large(number))
        bag.time += 0.2
        bag.writer._storage.bio.flush() if hasattr(bag.writer, "_storage") else bag.writer.storage.bio.flush()
        episodes = recordings.contents("day").episodes
        seen.append(episodes[0].pictures if episodes else 0)
        if seen[-1]:
            assert np.array_equal(recordings.picture("day", 1, -1), large(seen[-1] - 1))
    assert seen == sorted(seen) and 6 <= seen[-1] <= 8
    contents = recordings.contents("day")
    assert contents.episodes[0].is_open and not contents.episodes[0].is_kept and "under way" in contents.problem
    bag.mark("stop")
    bag.writer.close()
    contents = recordings.contents("day")
    assert (contents.problem, contents.episodes[0].pictures, contents.episodes[0].is_kept) == ("", 8, True)


def test_a_long_recording_in_parts_is_one(bag: Bag, recordings: Recordings, spec: RobotSpec) -> None:
    bag.mark("start")
    walk(bag, 3)
    bag.writer.close()
    second = Bag(bag.folder.with_name("day-2"), spec)
    second.time = bag.time
    walk(second, 4, first=4)
    second.mark("stop")
    second.writer.close()
    assert [row.name for row in recordings.rows()] == ["day"]
    assert [one.pictures for one in recordings.contents("day").episodes] == [7]


@pytest.mark.parametrize("kept", [0, 3, 8, 30, 5000, 0.5])
def test_a_bag_that_breaks_off_says_so(bag: Bag, recordings: Recordings, kept: float) -> None:
    three_episodes(bag)
    bag.writer.close()
    file = bag.folder / "day.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    assert [row.name for row in recordings.rows()] == ["day"]
    assert "under way, or its recorder was killed" in recordings.contents("day").problem


def test_a_damaged_bag_gives_what_is_whole(bag: Bag, recordings: Recordings) -> None:
    """Bytes are turned over one at a time, all over the file: a picture is right, or it is not shown."""
    shown = three_episodes(bag)
    bag.writer.close()
    file = bag.folder / "day.mcap"
    data, rng, damaged = file.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, len(data), 60):
        broken = bytearray(data)
        broken[place] ^= 0xFF
        file.write_bytes(bytes(broken))
        fresh = Recordings(recordings.folder)
        contents = fresh.contents("day")
        damaged += bool(contents.problem)
        for one in contents.episodes:
            for number in range(min(one.pictures, 3)):
                try:
                    assert fresh.picture("day", one.number, number).ndim == 3
                except ValueError:
                    pass
    file.write_bytes(data)
    assert damaged and np.array_equal(recordings.picture("day", 1, 0), shown[0])


@pytest.mark.parametrize("content", [b"no bag at all", b"\x89MCAP0\r\n" + bytes(5000), b"\x89MCAP0\r\n" + b"\xff" * 99])
def test_what_is_no_bag_is_named(recordings: Recordings, content: bytes) -> None:
    (recordings.folder / "odd").mkdir(parents=True)
    (recordings.folder / "odd" / "odd.mcap").write_bytes(content)
    (recordings.folder / "empty").mkdir()
    assert [row.name for row in recordings.rows()] == ["odd"]
    contents = recordings.contents("odd")
    assert contents.episodes == () and "damaged behind byte" in contents.problem
    with pytest.raises(ValueError, match="holds nothing that was recorded"):
        recordings.contents("empty")


def test_another_recording_of_the_same_name_is_read_anew(bag: Bag, recordings: Recordings, spec: RobotSpec) -> None:
    walk(bag, 5)
    bag.writer.close()
    assert recordings.contents("day").episodes[0].pictures == 5
    shutil.rmtree(bag.folder)
    other = Bag(bag.folder, spec)
    walk(other, 3)
    other.writer.close()
    assert recordings.contents("day").episodes[0].pictures == 3


def drive(folder: Path, frames: int, *, whole: bool = True) -> None:
    (folder / "frames").mkdir(parents=True)
    (folder / "steps.csv").write_text("step\n")
    for number in range(frames):
        (folder / "frames" / f"{number:06d}.jpg").write_bytes(images.encode_jpeg(picture(number)))
    if whole:
        (folder / "summary.json").write_text("{}\n")


def test_a_drive_is_listed_and_played(recordings: Recordings) -> None:
    drive(recordings.folder / "run", 3)
    drive(recordings.folder / "killed", 0, whole=False)
    assert {(row.name, row.kind) for row in recordings.rows()} == {("run", DRIVE), ("killed", DRIVE)}
    assert recordings.contents("run").episodes[0].pictures == 3 and recordings.contents("run").problem == ""
    assert images.decode(recordings.thumbnail("run", 0)).shape == (24, 32, 3)
    assert "did not end by itself" in recordings.contents("killed").problem
    with pytest.raises(ValueError, match="there is none of number"):
        recordings.thumbnail("killed", 0)


def test_two_thousand_recordings_are_listed_at_once(bag: Bag, recordings: Recordings) -> None:
    walk(bag, 2)
    bag.writer.close()
    for number in range(2000):
        folder = recordings.folder / f"rec_{number}"
        folder.mkdir()
        (folder / f"rec_{number}.mcap").hardlink_to(bag.folder / "day.mcap")
    begun = time.process_time()
    rows = recordings.rows()
    assert len(rows) == 2001
    assert recordings.contents("rec_7").episodes[0].pictures == 2
    assert time.process_time() - begun < 2.0  # of this process alone; it takes 0.2 s


def test_no_folder_is_no_recording(tmp_path: Path) -> None:
    assert Recordings(tmp_path / "none").rows() == []
