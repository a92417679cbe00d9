"""Promise: an import in shards that others make is whole, goes on where it was, and mixes nothing."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data import in_shards
from mqe_core.data.import_job import ImportJob
from mqe_core.data.in_shards import import_in_shards, make_shard
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.lock import FileLock
from tests.data.restarted import EPISODES, make_tree


@pytest.fixture
def job(tmp_path, make_trajectory) -> ImportJob:
    return ImportJob(make_tree(tmp_path, make_trajectory), "s", image_size=8, trust_units=True, workers=1)


def _here(tasks):
    """Backwards, as they may end."""
    for task in reversed(tasks):
        yield task, make_shard(task)


def _by_name(store: EpisodeStore) -> dict[str, bytes]:
    episodes = map(store.encoded_episode, range(store.num_episodes))
    return {
        one.name: one.states.tobytes() + one.actions.tobytes() + b"".join(sum(one.images.values(), []))
        for one in episodes
    }


@pytest.mark.parametrize("shards", [1, 2, 3, EPISODES])
def test_all_episodes_are_there_once(job, tmp_path, shards) -> None:
    store = import_in_shards(job, tmp_path / "store", shards, _here)
    alone = job.run(tmp_path / "alone")
    # One that stands twice is noticed within a shard only.
    assert _by_name(store).keys() - _by_name(alone).keys() <= {"2023-01-01_00-00-00/raw/traj_group0/traj3"}
    assert _by_name(alone).items() <= _by_name(store).items()
    assert any("obs_dict.pkl is missing" in skipped.reason for skipped in store.skipped) or shards == EPISODES
    store.verify()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["alone", "src", "store"]


def test_a_call_that_failed_is_gone_on_with_and_makes_no_finished_shard_again(job, tmp_path) -> None:
    made = []

    def fails_at_the_second(tasks):
        made.append(tasks[0].shard.number)
        yield tasks[0], make_shard(tasks[0])
        raise RuntimeError("the cluster went away")

    with pytest.raises(RuntimeError, match="went away"):
        import_in_shards(job, tmp_path / "store", 2, fails_at_the_second)
    (folder,) = tmp_path.glob(".store.shards-*")
    first = (folder / "1/metadata.json").stat().st_mtime_ns

    def looks(tasks):
        yield from _here(tasks)
        assert (folder / "1/metadata.json").stat().st_mtime_ns == first

    store = import_in_shards(job, tmp_path / "store", 2, looks)
    again = import_in_shards(job, tmp_path / "undisturbed", 2, _here)
    assert store.fingerprint == again.fingerprint and not folder.exists()


@pytest.mark.parametrize("change", ["image size", "source", "shards"])
def test_shards_of_another_import_are_not_taken(job, tmp_path, change, caplog) -> None:
    def ends(tasks):
        yield tasks[0], make_shard(tasks[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_in_shards(job, tmp_path / "store", 2, ends)
    if change == "image size":
        job = replace(job, image_size=12)
    if change == "source":
        (job.source / "2023-01-01_00-00-00/raw/traj_group0/traj0/lang.txt").write_text("a new label")
    store = import_in_shards(job, tmp_path / "store", 3 if change == "shards" else 2, _here)
    assert store.image_size == job.image_size and "shards of another import" in caplog.text
    if change == "source":
        assert ["a new label"] in store.languages


def test_a_shard_without_usable_episodes_is_told_and_costs_nothing(job, tmp_path, caplog) -> None:
    for folder in sorted((job.source / "2023-01-01_00-00-00/raw/traj_group0").iterdir())[1::2]:
        (folder / "obs_dict.pkl").unlink(missing_ok=True)
    store = import_in_shards(job, tmp_path / "store", 2, _here)
    assert store.num_episodes == 3 and "shard 2 of 2: s holds no usable episode" in caplog.text
    for file in job.source.rglob("obs_dict.pkl"):
        file.unlink()
    with pytest.raises(ValueError, match="s holds no usable episode"):
        import_in_shards(job, tmp_path / "none", 2, _here)


def test_targets_are_looked_at_before_the_work(job, tmp_path) -> None:
    def nobody(tasks):
        raise AssertionError("work began")

    out = tmp_path / "store"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(ValueError, match="already holds something"):
        import_in_shards(job, out, 2, nobody)
    with pytest.raises(ValueError, match="lies inside the data"):
        import_in_shards(job, job.source / "store", 2, nobody)
    second = tmp_path / "second"
    folder = in_shards._folder(job, second, 2)
    folder.mkdir()
    lock = FileLock(folder / "lock", second)
    with pytest.raises(ValueError, match="second is being made by process"):
        import_in_shards(job, second, 2, nobody)
    lock.release()


def test_a_machine_that_sees_other_files_or_has_another_version_says_so(job, tmp_path) -> None:
    def elsewhere(change):
        def run(tasks):
            for task in tasks:
                yield task, make_shard(change(task))

        return run

    for change, said in (
        (lambda task: task._replace(version="0.0"), "has version .* and was asked by 0.0"),
        (lambda task: task._replace(job=replace(job, source=tmp_path / "away")), "away is not to be seen on"),
        (lambda task: task._replace(out=tmp_path / "away/1"), "away is not to be seen on"),
    ):
        with pytest.raises(ValueError, match=said):
            import_in_shards(job, tmp_path / "store", 2, elsewhere(change))
    with pytest.raises(ValueError, match="was made on another machine and is not to be seen here"):
        import_in_shards(job, tmp_path / "store", 2, lambda tasks: [(task, "") for task in tasks])


def test_the_command_names_what_is_missing_and_what_excludes_each_other(job, tmp_path, monkeypatch, capsys) -> None:
    command = ["data", "import", str(job.source), "--out", str(tmp_path / "store"), "--ray"]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command) == 1
    assert "pip install -r requirements/ray.txt" in capsys.readouterr().err
    assert main([*command, "--shard", "1/2"]) == 1
    assert "leave out one of the two" in capsys.readouterr().err
    assert np.array_equal(sorted(entry.name for entry in tmp_path.iterdir()), ["src"])
