"""Shards of an import, its worker processes, and images as JPEG."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data import loading
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.restarted import EPISODES, contents, import_tree, make_tree
from tests.data.test_data_command import _run


def test_shards_are_disjoint_and_merged_they_are_everything(tmp_path, make_trajectory):
    source = make_tree(tmp_path, make_trajectory)
    whole = import_tree(source, tmp_path / "whole")
    arguments = ("--image-size", 8, "--trust-units")
    for number in (1, 2, 3):
        assert _run("import", source, "--out", tmp_path / f"s{number}", "--shard", f"{number}/3", *arguments) == 0
    assert _run("merge", *(tmp_path / f"s{number}" for number in (1, 2, 3)), "--out", tmp_path / "merged") == 0
    merged = EpisodeStore.open(tmp_path / "merged")
    merged.verify()
    # Whether an episode stands there twice is seen within a shard only.
    assert sorted(merged.names) == sorted([*whole.names, "2023-01-01_00-00-00/raw/traj_group0/traj3"])
    assert [entry.name for entry in merged.skipped] == ["2023-01-01_00-00-00/raw/traj_group0/traj2"]
    assert merged.metadata["source_files"] == EpisodeStore.open(tmp_path / "s1").metadata["source_files"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_what_is_no_shard_is_refused(tmp_path, make_trajectory, shard):
    source = make_tree(tmp_path, make_trajectory, 3)
    with pytest.raises(ValueError, match="expected I/N, from 1/N to N/N"):
        _run("import", source, "--out", tmp_path / "store", f"--shard={shard}")
    assert not (tmp_path / "store").exists()


def test_processes_make_the_same_store_as_threads(tmp_path, make_trajectory, monkeypatch):
    source = make_tree(tmp_path, make_trajectory)
    monkeypatch.setattr(loading, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(loading, "_FEW_WORKERS", 0)
    import_tree(source, tmp_path / "threads", workers=2)
    monkeypatch.setattr(loading, "ThreadPoolExecutor", None)
    import_tree(source, tmp_path / "processes", workers=2, processes=True)
    assert contents(tmp_path / "threads") == contents(tmp_path / "processes")


# Imports with processes, one of which (or the parent itself) is killed in the middle; prints the processes.
_ONE_IS_KILLED = """
import multiprocessing, os, signal, sys, time
from pathlib import Path
from mqe_core.data import loading
from mqe_core.data.store import restartable_writer
from mqe_core.data.importer import import_episodes, open_source

if __name__ == "__main__":
    loading._WORTH_PROCESSES, loading._FEW_WORKERS = 1, 0
    restartable_writer.JOURNAL_EVERY_S = 0.0
    result = loading._result
    seen = 0
    def third_kills(item):
        global seen
        seen += 1
        if seen == 3:
            workers = [child.pid for child in multiprocessing.active_children()]
            print(*workers, flush=True)
            os.kill(workers[0] if sys.argv[3] == "worker" else os.getpid(), signal.SIGKILL)
            time.sleep(1.0)  # the pool's thread sees it; else the other worker may do all that is left before
        return result(item)
    loading._result = third_kills
    source = Path(sys.argv[1])
    options = dict(image_size=8, source_name="s", workers=2, trust_units=True, root=source, processes=True)
    import_episodes(open_source(source), sys.argv[2], **options)
"""


@pytest.mark.parametrize("killed", ["worker", "parent"])
def test_a_killed_process_is_named_keeps_the_work_and_leaves_no_other(tmp_path, make_trajectory, killed):
    source, out = make_tree(tmp_path, make_trajectory), tmp_path / "store"
    for k in range(EPISODES, 20):
        make_trajectory(source / f"2023-01-01_00-00-00/raw/traj_group0/traj{k}", 4, seed=k)
    script = tmp_path / "script.py"
    script.write_text(_ONE_IS_KILLED)
    command = [sys.executable, str(script), str(source), str(out), killed]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == (1 if killed == "worker" else -signal.SIGKILL)
    if killed == "worker":
        assert "RuntimeError: a process that decodes images was killed" in result.stderr
        assert "the same command goes on" in result.stderr
    workers = [int(pid) for pid in result.stdout.split()]
    deadline = time.monotonic() + 60
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers and not any(map(_runs, workers))
    import_tree(source, out).verify()


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_jpeg_is_smaller_near_and_said_in_the_metadata(tmp_path, make_trajectory, spec):
    source = tmp_path / "src"
    make_trajectory(source / "2023-01-01_00-00-00/raw/traj_group0/traj0", 4, size=(48, 64))
    png, jpeg, low = (
        import_episodes(open_source(source), tmp_path / str(q), image_size=32, source_name="s", jpeg_quality=q)
        for q in (None, 95, 50)
    )
    sizes = [store.metadata["files"]["camera_0.bin"]["bytes"] for store in (png, jpeg, low)]
    assert sizes == sorted(sizes, reverse=True) and sizes[2] < sizes[0] / 2
    every = np.arange(4)
    differences = [np.abs(png.images(every).astype(int) - store.images(every)).mean() for store in (jpeg, low)]
    assert 0 < differences[0] < differences[1]
    assert (tmp_path / "95/camera_0.bin").read_bytes().startswith(b"\xff\xd8\xff")
    assert jpeg.metadata["jpeg_quality"] == 95 and "jpeg_quality" not in png.metadata


def test_an_addition_takes_the_quality_of_the_store_and_frames_of_its_size_stay(tmp_path, make_trajectory):
    for day, size in ((1, (24, 32)), (2, (24, 32)), (3, (16, 16))):
        make_trajectory(tmp_path / f"d{day}/2023-01-0{day}_00-00-00/raw/traj_group0/traj0", 4, seed=day, size=size)
    arguments = ("--image-size", 16, "--trust-units")
    _run("import", tmp_path / "d1", "--out", tmp_path / "store", "--jpeg-quality", 90, *arguments)
    for day in (2, 3):
        _run("append", tmp_path / "store", tmp_path / f"d{day}", "--trust-units")
    store = EpisodeStore.open(tmp_path / "store")
    assert store.metadata["jpeg_quality"] == 90
    assert all(frame.startswith(b"\xff\xd8\xff") for frame in store.encoded_episode(1).images[0])
    original = (tmp_path / "d3/2023-01-03_00-00-00/raw/traj_group0/traj0/images0/im_0.jpg").read_bytes()
    assert store.encoded_episode(2).images[0][0] == original
    assert images.decode(original).shape == (16, 16, 3)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_has_a_range(tmp_path, make_trajectory, quality):
    source = make_tree(tmp_path, make_trajectory, 3)
    with pytest.raises(ValueError, match="--jpeg-quality .*: expected 1 to 100"):
        _run("import", source, "--out", tmp_path / "store", "--jpeg-quality", quality)
    assert os.listdir(tmp_path) == ["src"]
