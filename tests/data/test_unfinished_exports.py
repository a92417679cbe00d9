"""Promise: an export makes a whole data set where nothing stood, or nothing; a killed one leaves what nobody reads."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.exports import growing_folder
from mqe_core.data.exports.bridge_tree import export_bridge_tree
from mqe_core.data.exports.lerobot_set import export_lerobot
from mqe_core.data.importer import open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.disk import WriteError
from tests.data.made_episodes import made_episode, write_store

EXPORTS = {"bridge-raw": export_bridge_tree, "lerobot": export_lerobot}


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("to", EXPORTS)
def test_what_stands_there_is_left_alone(to: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)])
    EXPORTS[to](store, tmp_path / "out")
    before = listing(tmp_path)
    for out, reason in (
        ("out", "already holds something, a (raw Bridge tree|LeRobot data set)"),
        ("store", "is the data that is read"),
        ("store/inside", "lies inside"),
        (".", "holds the data that is read"),
    ):
        with pytest.raises(ValueError, match=reason):
            EXPORTS[to](store, tmp_path / out)
    assert listing(tmp_path) == before
    (tmp_path / "empty/deep").mkdir(parents=True)
    EXPORTS[to](store, tmp_path / "empty")
    assert listing(tmp_path / "empty") == listing(tmp_path / "out")


@pytest.mark.parametrize("to", EXPORTS)
@pytest.mark.parametrize("ends", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_export_that_ends_early_leaves_nothing(to: str, ends: BaseException, tmp_path: Path, monkeypatch) -> None:
    store = write_store(tmp_path / "store", [made_episode(k) for k in range(3)])
    before, read = listing(tmp_path), EpisodeStore.images if to == "lerobot" else EpisodeStore.encoded_episode

    def fail(self, number, *rest):
        if np.max(number) >= 2:
            raise ends
        return read(self, number, *rest)

    monkeypatch.setattr(EpisodeStore, read.__name__, fail)
    with pytest.raises(KeyboardInterrupt if isinstance(ends, KeyboardInterrupt) else WriteError) as error:
        EXPORTS[to](store, tmp_path / "out")
    assert listing(tmp_path) == before
    if error.type is WriteError:
        assert f"{tmp_path / 'out'} cannot be written: No space left on device; free some space" in str(error.value)


IN_A_PROCESS = """
import os, resource, signal, sys
from pathlib import Path
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.exports import bridge_tree, lerobot_set
from tests.data.test_unfinished_exports import EXPORTS
store, to, out, room = EpisodeStore.open(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
if room:
    bridge_tree.check_folder = lerobot_set.check_folder = lambda *_, **__: None  # it would find out already
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
else:
    name = "images" if to == "lerobot" else "encoded_episode"
    calls, read = [], getattr(EpisodeStore, name)
    def die_at_the_fourth(self, *rest):
        calls.append(rest)
        return os.kill(os.getpid(), signal.SIGKILL) if len(calls) == 4 else read(self, *rest)
    setattr(EpisodeStore, name, die_at_the_fourth)
try:
    EXPORTS[to](store, out)
except OSError as error:
    sys.exit(str(error))
"""


def export_in_a_process(store: EpisodeStore, to: str, out: Path, room: int = 0) -> subprocess.CompletedProcess[str]:
    """With room for so many bytes in a file, or killed at its fourth episode."""
    command = [sys.executable, "-c", IN_A_PROCESS, store.path, to, out, str(room)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(("to", "room"), [("bridge-raw", 300), ("lerobot", 2000), ("lerobot", 40_000)])
def test_a_file_that_the_disk_does_not_take_is_named_and_nothing_stays(to: str, room: int, tmp_path: Path) -> None:
    """A file may have only so many bytes: the parquet file does not fit, then only the video."""
    store = write_store(tmp_path / "store", [made_episode(k, 40, size=64) for k in range(2)], image_size=64)
    before = listing(tmp_path)
    done = export_in_a_process(store, to, tmp_path / "out", room)
    assert done.returncode == 1 and "cannot be written" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and listing(tmp_path) == before


@pytest.mark.parametrize("to", EXPORTS)
def test_what_a_killed_export_leaves_is_no_data_set(to: str, tmp_path: Path, caplog) -> None:
    store = write_store(tmp_path / "store", [made_episode(k) for k in range(5)])
    (tmp_path / "outs").mkdir()
    assert export_in_a_process(store, to, tmp_path / "outs/out").returncode == -signal.SIGKILL
    (left,) = (tmp_path / "outs").iterdir()
    assert left.name.startswith(".out.partial-")
    for root in (left, tmp_path / "outs"):
        with pytest.raises(ValueError, match="holds no episodes"):
            open_source(root)
    caplog.set_level(logging.WARNING)
    EXPORTS[to](write_store(tmp_path / "small", [made_episode(0)]), tmp_path / "outs/out")
    assert f"{left}: unfinished export; delete it" in caplog.text


def test_a_folder_that_appears_meanwhile_is_left_alone(tmp_path: Path, monkeypatch) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)])

    def sync() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out/precious").touch()

    monkeypatch.setattr(growing_folder.os, "sync", sync)
    with pytest.raises(ValueError, match="has appeared during the export"):
        export_bridge_tree(store, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["precious"]


def test_a_disk_of_its_own_is_refused_before_it_begins(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(growing_folder, "is_mount_point", lambda path: True)
    with pytest.raises(ValueError, match="is the root of a disk, and cannot be made in one step; name a folder on it"):
        export_bridge_tree(write_store(tmp_path / "store", [made_episode(0)]), tmp_path / "out")
