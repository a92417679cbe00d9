"""Promise: what an operating system leaves in every folder is nobody's work. Such a folder counts as empty, what lies
in it stays, and unfinished work beside it is found again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mqe_core.data.exports.growing_folder import growing
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.restartable_writer import RestartableWriter
from mqe_core.files.kinds import OGBENCH, RUN_BEGUN, STORE_BEGUN
from mqe_core.files.outputs import holds_nothing
from tests.data.made_episodes import made_episode, write_store

LEFT = (
    ".DS_Store",
    "._photo",
    "Thumbs.db",
    "System Volume Information/WPSettings.dat",
    "$RECYCLE.BIN/desktop.ini",
    ".Trash-1000/files/old",
    ".nfs0000000001",
    "lost+found/#12",
)


@pytest.fixture(params=LEFT)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A folder and the file that a system has left in it."""
    file = tmp_path / "disk" / request.param
    file.parent.mkdir(parents=True)
    file.write_bytes(b"its own")
    return tmp_path / "disk", file


def _write(out: Path, count: int, fails: bool = False) -> None:
    with RestartableWriter(out, settings={}, overwrite=False, image_size=16) as writer:
        done = len(list(writer.resume()))
        for number in range(done, count):
            writer.add(made_episode(number))
        if fails:
            raise KeyboardInterrupt


def test_a_store_is_made_beside_it(disk: tuple[Path, Path]) -> None:
    out, file = disk
    assert holds_nothing(out)
    write_store(out, [made_episode(0)])
    assert EpisodeStore.open(out).num_episodes == 1 and file.read_bytes() == b"its own"


def test_an_unfinished_import_is_gone_on_with(disk: tuple[Path, Path]) -> None:
    out, file = disk
    with pytest.raises(KeyboardInterrupt):
        _write(out, 1, fails=True)
    assert STORE_BEGUN.stands_at(out)
    _write(out, 2)
    assert EpisodeStore.open(out).num_episodes == 2 and file.read_bytes() == b"its own"


def test_an_unfinished_import_is_replaced_and_nothing_else(disk: tuple[Path, Path]) -> None:
    out, file = disk
    with pytest.raises(KeyboardInterrupt):
        _write(out, 1, fails=True)
    write_store(out, [made_episode(5)], overwrite=True)
    assert EpisodeStore.open(out).names == ["episode5"] and file.read_bytes() == b"its own"


def test_an_export_keeps_it(disk: tuple[Path, Path]) -> None:
    out, file = disk
    with growing(out) as folder:
        (folder / "whole").write_bytes(b"x")
    assert (out / "whole").exists() and file.read_bytes() == b"its own"


def test_what_a_command_made_is_still_told(disk: tuple[Path, Path]) -> None:
    out, _ = disk
    assert RUN_BEGUN.stands_at(out)
    (out / "pointmaze-giant-stitch-v0.npz").write_bytes(b"x")
    assert OGBENCH.stands_at(out) and not holds_nothing(out)


def test_names_that_only_look_alike_are_somebodys(tmp_path: Path) -> None:
    for name in ("DS_Store", ".Trash", "nfs0", "thumbs.db.npy", "System Volume"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x")
        assert not holds_nothing(tmp_path), name
        (tmp_path / name / "file").unlink()
