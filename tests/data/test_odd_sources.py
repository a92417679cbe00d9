"""Promise: odd names and things that are no files, below a source, are read or named; nothing is waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.placeholders import POINTER
from tests.data.made_episodes import LFS_POINTER
from tests.data.test_source_files import _files, _import, day
from tests.data.written_shards import SHARD

__all__ = ["day"]


@pytest.mark.parametrize("cameras", [[""], ["images0", "images0"], ["images0", ""]])
def test_each_camera_has_one_key(day, tmp_path, cameras, capsys) -> None:
    options = [option for camera in cameras for option in ("--camera", camera)]
    assert _import(day.root, tmp_path / "store", *options) == 1
    assert "expected one key for each camera" in capsys.readouterr().err


def test_names_of_images_in_capitals_are_those_of_images(day, tmp_path) -> None:
    for made in day.made:
        for image in list((made.folder / "images0").iterdir()):
            image.rename(image.with_name(image.name.upper()))
    assert _import(day.root, tmp_path / "store") == 0
    assert EpisodeStore.open(tmp_path / "store").num_episodes == len(day.made)


def test_a_pipe_is_named_and_not_waited_for(day, tmp_path) -> None:
    (first, *_) = day.made
    (first.folder / "images0/im_1.jpg").unlink()
    os.mkfifo(first.folder / "images0/im_1.jpg")
    os.mkfifo(day.root / "x-train.tfrecord-00000-of-00001")
    assert _import(day.root, tmp_path / "store") == 0
    assert _files(tmp_path / "store")["a pipe, a socket or a device"][0] == 2
    (skipped,) = EpisodeStore.open(tmp_path / "store").skipped
    assert "a pipe, where a file was expected" in skipped.reason


STEERING = "\x1b\x07\r\u202e"


@pytest.mark.parametrize("name", [f"a{STEERING}b", "two\nlines"])
def test_a_name_that_steers_the_terminal_is_shown_as_its_escapes(name, tmp_path, make_trajectory) -> None:
    group = tmp_path / "src" / name / "2023-01-01_00-00-00/raw/traj_group0"
    made = [make_trajectory(group / f"traj{number}", 4, seed=number) for number in range(3)]
    (made[1].folder / "obs_dict.pkl").unlink()
    (tmp_path / "src" / f"{name}.bag").write_bytes(b"x")
    command = [sys.executable, "-m", "mqe_core.cli", "data", "import", "src", "--out", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    out, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, said
    # The bar of progress goes back to the begin of its line.
    assert not set(STEERING) & set(out) and not set(STEERING) - {"\r"} & set(said)
    first, *further = out.splitlines()
    assert first.endswith("2 episodes, 8 frames") and all(line.startswith("  ") for line in further)
    assert "obs_dict.pkl is missing" in said and EpisodeStore.open(tmp_path / name).names[0].startswith(name)


@pytest.mark.parametrize("below", ["traj0", "traj0/images0", ".", "traj0/images0/im_0.jpg"])
def test_a_part_of_a_raw_tree_is_answered_with_the_folder_to_give(day, tmp_path, capsys, below) -> None:
    part = day.folder / "raw/traj_group0" / below
    assert _import(part, tmp_path / "store") == 1
    assert f"is a part of a raw tree: give the folder {day.folder}" in capsys.readouterr().err


def test_a_source_that_is_a_store_is_told(day, tmp_path, capsys) -> None:
    assert _import(day.root, tmp_path / "store") == 0
    assert _import(tmp_path / "store", tmp_path / "second") == 1
    assert f"{tmp_path / 'store'} is an EpisodeStore" in capsys.readouterr().err


def test_what_no_reader_knows_is_not_laid_at_the_door_of_one(tmp_path, capsys) -> None:
    np.savez(tmp_path / "out.npz", states=np.zeros(3))
    (tmp_path / "a.csv").write_text("x")
    assert _import(tmp_path, tmp_path.with_name("store")) == 1
    said = capsys.readouterr().err
    assert "an archive of arrays" in said and "of no form that is read (a.csv)" in said


def test_pointers_of_git_lfs_are_told_with_the_remedy(tmp_path, tfrecord_maker, day, capsys) -> None:
    pointer = tmp_path / "shards" / SHARD
    pointer.parent.mkdir()
    pointer.write_bytes(LFS_POINTER)
    assert _import(pointer.parent, tmp_path / "store") == 1
    assert "a pointer of Git LFS, and not the file itself: git lfs pull" in capsys.readouterr().err
    (day.root / "bag.mcap").write_bytes(LFS_POINTER)
    assert _import(day.root, tmp_path / "store") == 0
    assert _files(tmp_path / "store")[POINTER] == (1, "bag.mcap")


@pytest.mark.parametrize("kind", ["mp4", "parquet"])
def test_pointers_in_a_lerobot_set_are_told(tmp_path, capsys, caplog, kind) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pyarrow")
    shutil.copytree(Path(__file__).parent / "fixtures/lerobot_v21", tmp_path / "src")
    for file in (tmp_path / "src").rglob(f"*.{kind}"):
        file.write_bytes(LFS_POINTER)
    main(["data", "import", str(tmp_path / "src"), "--out", str(tmp_path / "store"), "--cameras", "0"])
    assert POINTER in capsys.readouterr().err + caplog.text
