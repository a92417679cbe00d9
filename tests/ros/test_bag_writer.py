"""Promise: bags are bounded and readable one by one, and a full disk ends the recording, not the program."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rosbags.rosbag2 import Reader, Writer
from rosbags.typesys import Stores, get_typestore

from mqe_ros.bag_writer import BagWriter

TYPES = get_typestore(Stores.ROS2_JAZZY)
TOPICS = [("/a", "std_msgs/msg/String"), ("/b", "std_msgs/msg/String")]


def message(k: int, length: int = 100) -> bytes:
    kind = TYPES.types["std_msgs/msg/String"]
    return bytes(TYPES.serialize_cdr(kind(data=f"{k:04d}" + "x" * length), "std_msgs/msg/String"))


def texts(folder: Path) -> list[str]:
    with Reader(folder) as reader:
        return [TYPES.deserialize_cdr(raw, connection.msgtype).data[:4] for connection, _, raw in reader.messages()]


def test_a_bag_that_is_full_is_closed_and_the_next_begun(tmp_path: Path) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=1000)
    for k in range(20):
        bags.write(TOPICS[k % 2][0], k, message(k))
    bags.close()
    bags.close()
    assert {folder.name for folder in tmp_path.iterdir()} == {"bag", "bag-2", "bag-3"}
    assert [text for name in ("bag", "bag-2", "bag-3") for text in texts(tmp_path / name)] == [
        f"{k:04d}" for k in range(20)
    ]
    assert bags.counts == {"/a": 10, "/b": 10} and not bags.failure


def test_every_bag_begins_with_what_holds(tmp_path: Path) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=1000, latched=["/b"])
    bags.write("/b", 0, message(9999))
    for k in range(20):
        bags.write("/a", k, message(k))
    bags.close()
    assert texts(tmp_path / "bag-2")[0] == texts(tmp_path / "bag-3")[0] == "9999"


def test_a_name_that_is_taken_ends_the_recording_only(tmp_path: Path) -> None:
    (tmp_path / "bag-2").mkdir()
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=300)
    for k in range(20):
        bags.write("/a", k, message(k))
    assert "bag-2" in bags.failure and texts(tmp_path / "bag")
    bags.close()


class FullDisk:
    """rosbags' writer on a disk that is full after `room` messages."""

    def __init__(self, *arguments, room: int, **options) -> None:
        self._room = room
        self._writer = Writer(*arguments, **options)
        self.open, self.add_connection = self._writer.open, self._writer.add_connection

    def write(self, *arguments) -> None:
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._writer.write(*arguments)

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    abort = close


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=10**9, make_writer=partial(FullDisk, room=5))
    for k in range(10):
        bags.write("/a", k, message(k))
    assert "No space left on device" in bags.failure and bags.counts["/a"] == 5
    bags.close()


def test_a_disk_that_is_full_at_the_end_is_said_too(tmp_path: Path) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=10**9, make_writer=partial(FullDisk, room=100))
    bags.write("/a", 0, message(0))
    bags.close()
    assert "No space left on device" in bags.failure


def test_a_size_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=0)


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_file(folder: Path) -> None:
    (folder / f"{folder.name}.mcap").unlink()


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace(folder: Path) -> None:
    delete_file(folder)
    (folder / f"{folder.name}.mcap").write_bytes(b"another")


def test_a_bag_that_is_emptied_while_it_is_written_is_noticed_once_more_is_written(tmp_path: Path) -> None:
    bags, file = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=10**9), tmp_path / "bag" / "bag.mcap"
    for lost in (False, True):
        before = file.stat().st_size
        while file.stat().st_size <= before:
            bags.write("/a", 0, message(0) + bytes(2**20))
        bags.check()
        assert bool(bags.failure) == lost
        os.truncate(file, 0)
    assert bags.failure.endswith("bag.mcap was emptied or overwritten; what it held is lost")
    bags.close()


@pytest.mark.parametrize("lose", [delete, delete_file, rename, replace])
def test_a_bag_that_is_lost_while_it_is_written_is_noticed(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=10**9)
    bags.write("/a", 0, message(0))
    bags.check()
    assert not bags.failure
    lose(tmp_path / "bag")
    bags.check()
    assert bags.failure.startswith("recording stopped: ") and "bag.mcap was deleted, moved or replaced" in bags.failure
    bags.write("/a", 1, message(1))
    bags.check()
    bags.close()
    assert bags.counts["/a"] == 1


def test_a_bag_after_the_first_is_watched_too(tmp_path: Path) -> None:
    bags = BagWriter(tmp_path / "bag", TOPICS, TYPES, max_bytes=100)
    for k in range(2):
        bags.write("/a", k, message(k))
    bags.check()
    assert not bags.failure
    delete(tmp_path / "bag")  # the first one is closed
    bags.check()
    assert not bags.failure
    delete(tmp_path / "bag-2")
    bags.check()
    assert "bag-2.mcap" in bags.failure
