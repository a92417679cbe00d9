"""Promise: disks that are full, odd, or a root of their own lose no finished work, and no half store stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.merge import merge_stores
from mqe_core.data.store import files as store_files
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.files import disk
from mqe_core.files.disk import WriteError
from mqe_core.files.forecast import Forecast
from tests.data.made_episodes import made_episode, write_store
from tests.data.written_bag import Bag, walk
from tests.data.written_shards import SHARD, write_shard


class FullDisk:
    """`open` for a disk that takes so many bytes; what is buffered is refused at `close` too, as a real one does."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, path, mode):
        outer, stream = self, open(path, mode)

        class File:
            def write(self, data):
                outer.room -= len(data)
                if outer.room < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return stream.write(data)

            def close(self):
                stream.close()
                if outer.room < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.close()

            def __getattr__(self, name):
                return getattr(stream, name)

        return File()


@pytest.mark.parametrize("room", [0, 100, 2000, 4000])
@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a store"])
def test_a_full_disk_leaves_what_was_there_and_is_named(tmp_path, monkeypatch, room, there):
    out = tmp_path / "store"
    if there == "an empty folder":
        out.mkdir()
    if there == "a store":
        write_store(out, [made_episode(9)])
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(store_files, "open", FullDisk(room), raising=False)
    with pytest.raises(OSError, match=f"{out} cannot be written: No space left on device; free some space"):
        write_store(out, [made_episode(i) for i in range(3)], overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def no_links(source, target):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_a_merge_that_does_not_fit_is_refused_before_it_begins_and_cleans_up_where_it_fails(tmp_path, monkeypatch):
    stores = [write_store(tmp_path / name, [made_episode(i)]) for i, name in enumerate("ab")]
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patched:
        patched.setattr(disk.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100}))
        patched.setattr(os, "link", no_links)
        with pytest.raises(OSError, match="out takes .* MB, and 0.0 MB are free at"):
            merge_stores(stores, tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(store_files, "open", FullDisk(1000), raising=False)
        with pytest.raises(OSError, match="out cannot be written: No space left"):
            merge_stores(stores, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    for out in ("a", "a/inside", "."):
        with pytest.raises(ValueError, match="the data that is read|lies inside"):
            merge_stores(stores, tmp_path / out, overwrite=True)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
def test_a_file_system_that_cannot_flush_keeps_the_import(tmp_path, monkeypatch, code):
    def fsync(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    assert write_store(tmp_path / "store", [made_episode(0)]).num_episodes == 1


def test_a_disk_that_says_that_it_lost_something_ends_the_import(tmp_path, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="store cannot be written: Input/output error"):
        write_store(tmp_path / "store", [made_episode(0)])
    assert not any(tmp_path.iterdir())


def test_an_empty_folder_stays_the_same_folder(tmp_path, monkeypatch):
    """It may be a disk of its own, that cannot be renamed, or have its owner's rights."""
    out = tmp_path / "disk"
    (out / "lost+found").mkdir(parents=True)
    out.chmod(0o2770)
    number, rename = out.stat().st_ino, os.rename

    def no_root(old, new):
        if Path(new) == out or Path(old) == out:
            raise OSError(errno.EBUSY, "Device or resource busy")
        assert Path(old).parent.parent == out, "the files come from the same disk"
        rename(old, new)

    monkeypatch.setattr(os, "rename", no_root)
    assert write_store(out, [made_episode(0)]).num_episodes == 1
    assert out.stat().st_ino == number and out.stat().st_mode & 0o7777 == 0o2770
    assert os.listdir(tmp_path) == ["disk"] and not list(out.glob(".*"))


def test_a_failure_while_files_are_moved_up_leaves_the_folder_empty(tmp_path, monkeypatch):
    rename, calls = os.rename, []

    def third_fails(old, new):
        calls.append(new)
        if len(calls) == 3:
            raise OSError(errno.EIO, "Input/output error")
        rename(old, new)

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "rename", third_fails)
    with pytest.raises(OSError, match="Input/output error"):
        write_store(tmp_path / "out", [made_episode(0)])
    assert not any((tmp_path / "out").iterdir())


def test_an_import_that_was_killed_in_its_folder_is_named_and_replaced_when_told(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    writer = EpisodeWriter(out, image_size=16)
    writer.add(made_episode(0))  # and killed
    (out / "camera_0.bin").write_bytes(b"moved up already")
    with pytest.raises(ValueError, match="out already holds an unfinished import; .*--force"):
        EpisodeWriter(out, image_size=16)
    assert write_store(out, [made_episode(1)], overwrite=True).names == ["episode1"]
    assert not list(out.glob(".partial-*"))


def test_a_store_that_is_the_root_of_a_disk_is_not_replaced(tmp_path, monkeypatch):
    out = tmp_path / "a disk"
    write_store(out, [made_episode(0)])
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"36 35 98:0 / /proc rw - proc proc rw\n37 35 8:1 /data {str(out).replace(' ', chr(92) + '040')} rw\n"
    )
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    with pytest.raises(ValueError, match="is the root of a disk, .* delete its files first"):
        EpisodeWriter(out, image_size=16, overwrite=True)
    monkeypatch.setattr(disk, "_MOUNTS", tmp_path / "none")
    assert EpisodeStore.open(out).num_episodes == 1


def test_a_name_that_is_not_utf8_is_kept(tmp_path):
    name = os.fsdecode(b"caf\xe9/traj0")
    store = write_store(tmp_path / os.fsdecode(b"st\xf6re"), [made_episode(0, name=name)])
    assert store.names == [name]
    assert np.array_equal(EpisodeStore.open(store.path).states, store.states)


def _usage(free: int):
    return lambda path: type("Usage", (), {"free": free})


@pytest.mark.parametrize("source", ["raw tree", "shard"])
def test_an_import_that_clearly_does_not_fit_ends_after_its_first_episodes(
    source, tmp_path, monkeypatch, make_trajectory, tfrecord_maker
):
    src, expected = tmp_path / "src", 40
    if source == "raw tree":
        for k in range(expected):
            make_trajectory(src / f"2023-01-01_00-00-00/raw/traj_group0/traj{k}", 3, seed=k)
    else:
        episodes = [tfrecord_maker.features(3, seed=k, cameras=(0,), filler=()) for k in range(expected)]
        write_shard(src / SHARD, [tfrecord_maker.record(tfrecord_maker.example(one)) for one in episodes])
    whole = tmp_path / "whole"
    import_episodes(open_source(src), whole, image_size=16, source_name="s", workers=1, trust_units=True)
    size = sum(file.stat().st_size for file in whole.glob("*.[bn]*"))
    before = sorted(tmp_path.rglob("*"))

    def into(out: Path, free: int) -> None:
        monkeypatch.setattr(disk.shutil, "disk_usage", _usage(free))
        import_episodes(open_source(src), out, image_size=16, source_name="s", workers=1, trust_units=True)

    added = []
    monkeypatch.setattr(EpisodeWriter, "add", lambda self, episode: added.append(episode))
    with pytest.raises(WriteError, match=f"{tmp_path}/out would take about .* MB, and .* MB were free at {tmp_path}; "):
        into(tmp_path / "out", size // 4)
    assert len(added) == 8 and sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    into(tmp_path / "fits", size)


def test_recordings_say_how_far_they_have_been_read(tmp_path, spec):
    for k in range(4):
        bag = Bag(tmp_path / f"src/day{k}", spec)
        walk(bag, 3, seed=k)
        bag.writer.close()
    shares = [task.share for task in open_source(tmp_path / "src").tasks()]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.05)


def test_a_forecast_needs_some_parts_and_a_clear_lack(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", _usage(1000))
    few, close, unknown = (Forecast(tmp_path / "not/there/yet") for _ in range(3))
    for number in range(1, 8):
        few.add(10**6, number / 100)
    for number in range(1, 101):
        close.add(14, number / 100)
        unknown.add(10**6, None)
    lacks = Forecast(tmp_path / "out", "make it smaller, ")
    with pytest.raises(
        WriteError, match="out would take about 100 MB, and 8 MB were free at .*; make it smaller, free"
    ):
        for number in range(1, 9):
            lacks.add(10**6, number / 100)
