"""`mqe data append`: a store grows by a part, and is one store to all that read it."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from mqe_core.data import merge
from mqe_core.data.append import adding_to
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store
from tests.data.test_data_command import _run
from tests.data.test_odd_disks import no_links


@pytest.fixture
def days(tmp_path, make_trajectory):
    """Three source folders of two trajectories each; the second day has a second camera."""
    for day in (1, 2, 3):
        for number in range(2):
            folder = tmp_path / f"day{day}/2023-01-0{day}_00-00-00/raw/traj_group0/traj{number}"
            cameras = (0, 1) if day == 2 else (0,)
            make_trajectory(folder, 4, seed=10 * day + number, cameras=cameras, language=f"day {day}")
    return [tmp_path / f"day{day}" for day in (1, 2, 3)]


@pytest.fixture
def grown(days, tmp_path):
    """A store of the three days, one import and two additions."""
    assert _run("import", days[0], "--out", tmp_path / "store", "--image-size", 8, "--trust-units") == 0
    for day in days[1:]:
        assert _run("append", tmp_path / "store", day, "--trust-units") == 0
    return EpisodeStore.open(tmp_path / "store")


def _alone(days, tmp_path) -> list[EpisodeStore]:
    stores = []
    for day in days:
        out = tmp_path / f"{day.name}.store"
        _run("import", day, "--out", out, "--image-size", 8, "--trust-units")
        stores.append(EpisodeStore.open(out))
    return stores


def test_what_was_added_is_read_as_one_store(grown, days, tmp_path, capsys):
    parts = _alone(days, tmp_path)
    assert grown.names == [name for part in parts for name in part.names] and grown.num_episodes == 6
    assert grown.languages == [["day 1"]] * 2 + [["day 2"]] * 2 + [["day 3"]] * 2
    for key in ("states", "actions", "valid"):
        np.testing.assert_array_equal(getattr(grown, key), np.concatenate([getattr(part, key) for part in parts]))
        assert not getattr(grown, key).flags.writeable
    assert grown.episode_ends.tolist() == [4, 8, 12, 16, 20, 24] and grown.cameras == (0, 1)
    assert grown.has_image(1).tolist() == [False] * 8 + [True] * 8 + [False] * 8
    every = np.concatenate([part.images(np.arange(8)) for part in parts])
    order = np.random.default_rng(0).permutation(24)
    np.testing.assert_array_equal(grown.images(order), every[order])
    np.testing.assert_array_equal(grown.images([9, 15], camera=1), parts[1].images([1, 7], camera=1))
    with pytest.raises(ValueError, match=r"episode 4 .*raw/traj_group0/traj0\) has no images of camera 1, frame 17"):
        grown.images([9, 17], camera=1)
    for number in range(6):
        mine, its = grown.encoded_episode(number), parts[number // 2].encoded_episode(number % 2)
        assert (mine.name, mine.images, mine.languages) == (its.name, its.images, its.languages)
        np.testing.assert_array_equal(mine.states, its.states)
    capsys.readouterr()
    assert _run("info", grown.path, "--verify", "--json") == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["episodes"], info["frames"], info["cameras"]) == (6, 24, [0, 1])
    assert info["source"] == ", ".join(map(str, days)) and sum(g["files"] for g in info["source_files"]) > 6


def test_an_addition_leaves_what_is_there_untouched(days, tmp_path):
    store = tmp_path / "store"
    _run("import", days[0], "--out", store, "--image-size", 8, "--trust-units")
    before = {f.name: (f.stat().st_ino, f.stat().st_mtime_ns) for f in store.iterdir() if f.name != "metadata.json"}
    old = EpisodeStore.open(store)
    _run("append", store, days[1], "--trust-units")
    now = {f.name: (f.stat().st_ino, f.stat().st_mtime_ns) for f in store.iterdir() if f.name in before}
    assert now == before and sorted(set(os.listdir(store)) - before.keys()) == ["metadata.json", "part-0001"]
    assert not any(file.name.startswith((".", "lock", "journal")) for file in store.rglob("*"))
    assert len(old.images(np.arange(8))) == 8, "what a training has open goes on"


def test_what_is_there_already_is_skipped_and_another_of_its_name_is_refused(grown, days, make_trajectory, capsys):
    fingerprint = grown.fingerprint
    with pytest.raises(ValueError, match="holds no usable episode, nothing is added; 2 skipped: .*already"):
        _run("append", grown.path, days[1], "--trust-units")
    folder = days[1] / "2023-01-02_00-00-00/raw/traj_group0"
    make_trajectory(folder / "traj2", 4, seed=99, language="new")
    _run("append", grown.path, days[1], "--trust-units")
    store = EpisodeStore.open(grown.path)
    assert store.num_episodes == 7 and store.languages[-1] == ["new"] and store.fingerprint != fingerprint
    shutil.rmtree(folder / "traj0")
    make_trajectory(folder / "traj0", 4, seed=77)
    with pytest.raises(ValueError, match="holds another episode '2023-01-02_00-00-00/raw/traj_group0/traj0'"):
        _run("append", grown.path, days[1], "--trust-units")
    assert EpisodeStore.open(grown.path).fingerprint == store.fingerprint


def test_what_cannot_be_a_part_is_refused_before_it_is_read(days, tmp_path, caplog):
    write_store(tmp_path / "sim", [made_episode(0)], domain="sim")
    with pytest.raises(ValueError, match="sim cannot be added to: domain is real, and sim in the store"):
        _run("append", tmp_path / "sim", days[0])
    write_store(tmp_path / "real", [made_episode(0)])
    with pytest.raises(ValueError, match="real cannot be added to: image_size is 8, and 16 in the store"):
        _run("append", tmp_path / "real", days[0], "--image-size", 8)
    with pytest.raises(ValueError, match="is no EpisodeStore"):
        _run("append", days[1], days[0])
    with pytest.raises(ValueError, match="holds the data that is read|is the data that is read"):
        _run("append", tmp_path / "real", tmp_path / "real")
    with adding_to(tmp_path / "real"):
        with pytest.raises(ValueError, match="real is being made by process"):
            _run("append", tmp_path / "real", days[0])
    assert sorted(file.name for file in (tmp_path / "real").iterdir() if file.is_dir()) == []


def test_other_options_than_the_stores_are_told(days, tmp_path, caplog):
    _run("import", days[0], "--out", tmp_path / "store", "--image-size", 8, "--trust-units")
    _run("append", tmp_path / "store", days[1], "--trust-units")
    assert "other options" not in caplog.text
    _run("append", tmp_path / "store", days[2], "--trust-units", "--binary-gripper")
    assert "store: its episodes were made by other options" in caplog.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("gone", "part-0001: this part of the store is missing"),
        ("another", "part-0001/metadata.json: it is another part than the one that was added"),
        ("a frame", "part-0001/camera_0.bin: the contents changed since the import"),
        ("outside", "'../day1.store' is no name of a part"),
        ("none", "expected one or more parts"),
        ("order", "the fingerprint does not fit"),
    ],
)
def test_a_damaged_part_is_named(grown, tmp_path, days, damage, said):
    part, file = grown.path / "part-0001", grown.path / "metadata.json"
    metadata = json.loads(file.read_text())
    if damage == "gone":
        shutil.rmtree(part)
    elif damage == "another":
        shutil.rmtree(part)
        shutil.copytree(grown.path / "part-0002", part)
    elif damage == "a frame":
        frames = bytearray((part / "camera_0.bin").read_bytes())
        frames[20] ^= 1
        (part / "camera_0.bin").write_bytes(frames)
    elif damage == "outside":
        metadata["parts"][1]["folder"] = "../day1.store"
    elif damage == "none":
        metadata["parts"] = []
    else:
        metadata["parts"].reverse()
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=said):
        EpisodeStore.open(grown.path).verify()


def test_merged_stores_share_their_files_and_outlive_each_other(grown, tmp_path, monkeypatch):
    more = write_store(tmp_path / "more", [made_episode(0, size=8)], image_size=8)
    merged = merge.merge_stores([grown, more], tmp_path / "merged")
    assert merged.names == grown.names + more.names
    assert (merged.path / "part-0002/camera_1.bin").stat().st_nlink == 2
    monkeypatch.setattr(os, "link", no_links)
    copied = merge.merge_stores([grown, more], tmp_path / "copied")
    assert copied.fingerprint == merged.fingerprint
    assert (copied.path / "part-0002/camera_1.bin").stat().st_nlink == 1
    shutil.rmtree(grown.path)
    for store in (merged, copied):
        store.verify()
        assert len(EpisodeStore.open(store.path).images(np.arange(29))) == 29
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    assert merge.merge_stores([merged], tmp_path / "empty").names == merged.names


def test_a_store_that_is_being_added_to_is_not_replaced(days, tmp_path):
    """What is added would be lost without a word; the import that was to replace it keeps its work."""
    out = tmp_path / "store"
    command = ("import", days[1], "--out", out, "--image-size", 8, "--trust-units", "--force")
    assert _run("import", days[0], "--out", out, "--image-size", 8, "--trust-units") == 0
    with adding_to(out):
        with pytest.raises(ValueError, match=f"{out} is being made by process {os.getpid()}"):
            _run(*command)
    assert EpisodeStore.open(out).languages == [["day 1"]] * 2
    assert _run(*command) == 0
    assert EpisodeStore.open(out).languages == [["day 2"]] * 2
