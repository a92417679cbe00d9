"""Promise: an import says for everything below its source what became of it, and leaves no camera out in silence."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mqe_core.cli import main
from mqe_core.data.importer import open_source
from mqe_core.data.source_files import Walk, account, same_files
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.spec import RobotSpec
from tests.data.written_bag import Bag, walk
from tests.data.written_shards import SHARD, import_shards, skips, write_shard

DAY = "2023-01-01_00-00-00"


def _import(source: Path, out: Path, *options: str) -> int:
    return main(["data", "import", str(source), "--out", str(out), "--image-size", "16", *options])


def _files(store: Path) -> dict[str, tuple[int, str]]:
    """By reason, empty where they were read: how many, and one of them."""
    groups = EpisodeStore.open(store).metadata["source_files"]
    return {group["reason"]: (group["files"], group["first"]) for group in groups}


@pytest.fixture
def day(tmp_path, make_trajectory) -> SimpleNamespace:
    """A raw tree of two trajectories: its root, and the trajectories."""
    group = tmp_path / "src" / DAY / "raw/traj_group0"
    made = [make_trajectory(group / f"traj{i}", 4, seed=i) for i in range(2)]
    return SimpleNamespace(root=tmp_path / "src", made=made, folder=tmp_path / "src" / DAY)


def _shards(root: Path, maker: SimpleNamespace, keys: dict[str, str] | None = None) -> Path:
    """One shard of two episodes below `root`, its keys renamed."""
    records = []
    for seed in range(2):
        features = maker.features(4, seed=seed, cameras=(0,), filler=())
        for old, new in (keys or {}).items():
            features[new] = features.pop(old)
        records.append(maker.record(maker.example(features)))
    write_shard(root / SHARD, records)
    return root / SHARD


@pytest.mark.parametrize("key", ["image", "image_primary", "wrist_image"])
def test_a_camera_of_another_key_in_shards_is_an_error_that_names_it(tmp_path, tfrecord_maker, capsys, key) -> None:
    _shards(tmp_path / "src", tfrecord_maker, {"steps/observation/image_0": f"steps/observation/{key}"})
    assert _import(tmp_path / "src", tmp_path / "store") == 1
    error = capsys.readouterr().err
    assert f"keys with images: {key};" in error and f"--camera {key}" in error
    assert not (tmp_path / "store").exists()
    assert _import(tmp_path / "src", tmp_path / "store", "--camera", key) == 0
    assert EpisodeStore.open(tmp_path / "store").cameras == (0,)


@pytest.mark.parametrize("key", ["images", "image_primary", "rgb"])
def test_a_camera_of_another_folder_in_a_raw_tree_is_an_error_that_names_it(day, tmp_path, capsys, key) -> None:
    for made in day.made:
        (made.folder / "images0").rename(made.folder / key)
    assert _import(day.root, tmp_path / "store") == 1
    error = capsys.readouterr().err
    assert f"keys with images: {key};" in error and f"--camera {key}" in error
    assert _import(day.root, tmp_path / "store", "--camera", key) == 0
    assert EpisodeStore.open(tmp_path / "store").cameras == (0,)


def test_cameras_are_numbered_in_the_order_in_which_they_are_asked_for(day, tmp_path, picture) -> None:
    for made in day.made:
        shutil.copytree(made.folder / "images0", made.folder / "second")
        for t in range(4):
            Image.fromarray(picture(99 + t)).save(made.folder / "second" / f"im_{t}.jpg")
    assert _import(day.root, tmp_path / "store", "--camera", "second", "--camera", "images0") == 0
    assert _import(day.root, tmp_path / "plain") == 0
    store, plain = EpisodeStore.open(tmp_path / "store"), EpisodeStore.open(tmp_path / "plain")
    assert store.cameras == (0, 1) and plain.cameras == (0,)
    assert np.array_equal(store.images(np.arange(8), 1), plain.images(np.arange(8), 0))


def test_a_camera_that_is_left_out_beside_another_one_is_told(day, tmp_path, tfrecord_maker, caplog) -> None:
    for made in day.made:
        shutil.copytree(made.folder / "images0", made.folder / "image_wrist")
    assert _import(day.root, tmp_path / "store") == 0
    assert "images under image_wrist are not imported (in 2 episodes)" in caplog.text
    assert EpisodeStore.open(tmp_path / "store").metadata["unused_cameras"] == {"image_wrist": 2}
    assert _files(tmp_path / "store")["images of image_wrist, no camera's key (--camera)"][0] == 8


def test_a_camera_that_is_not_there_is_told_with_those_that_are(day, tmp_path, tfrecord_maker, spec, capsys) -> None:
    assert _import(day.root, tmp_path / "store", "--camera", "imagse0") == 1
    assert "no images under --camera imagse0; folders with images: images0" in capsys.readouterr().err
    _shards(tmp_path / "shards", tfrecord_maker)
    assert _import(tmp_path / "shards", tmp_path / "store", "--camera", "image") == 1
    assert "no images under --camera image; keys with images: image_0" in capsys.readouterr().err
    bag = Bag(tmp_path / "bag", spec)
    bag.diagnostics("sim")
    walk(bag, 3)
    bag.writer.close()
    assert _import(tmp_path / "bag", tmp_path / "store", "--camera", "/image") == 1
    assert "no images under --camera /image; topics with images: /camera/image_raw" in capsys.readouterr().err


def test_a_source_without_any_image_is_imported_as_states(tmp_path, make_trajectory) -> None:
    make_trajectory(tmp_path / "src" / DAY / "raw/traj_group0/traj0", 4, cameras=())
    assert _import(tmp_path / "src", tmp_path / "store") == 0


def test_linked_folders_are_read_once(day, tmp_path, make_trajectory) -> None:
    elsewhere = tmp_path / "elsewhere" / "2023-02-02_00-00-00"
    make_trajectory(elsewhere / "raw/traj_group0/traj0", 4, seed=5)
    (day.root / elsewhere.name).symlink_to(elsewhere)
    (day.root / "again").symlink_to(elsewhere)
    (day.root / "inside").symlink_to(day.folder)
    (day.root / "loop").symlink_to(day.root)
    (day.root / "above").symlink_to(tmp_path)
    (day.root / "nothing").symlink_to(tmp_path / "nothing")
    assert _import(day.root, tmp_path / "store") == 0
    assert EpisodeStore.open(tmp_path / "store").num_episodes == 3
    files = _files(tmp_path / "store")
    assert files["a link to nothing"] == (1, "nothing")
    assert {name for _, name in files.values()} >= {"again", "inside", "loop", "above"}


def test_a_folder_that_cannot_be_read_is_told(day, tmp_path, make_trajectory, monkeypatch, capsys) -> None:
    closed = day.root / "2023-03-03_00-00-00"
    make_trajectory(closed / "raw/traj_group0/traj0", 4, seed=5)
    scandir = os.scandir

    def guarded(path=".") -> object:
        if Path(os.fspath(path)) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert _import(day.root, tmp_path / "store") == 0
    assert _files(tmp_path / "store")["it cannot be read (Permission denied)"] == (1, closed.name)
    assert "1 not looked at, it cannot be read (Permission denied)" in capsys.readouterr().out


def test_the_same_shard_counts_once(tmp_path, tfrecord_maker) -> None:
    shard = _shards(tmp_path / "src/a", tfrecord_maker)
    for name in ("copied", "hard", "soft"):
        (tmp_path / "src" / name).mkdir()
    shutil.copy(shard, tmp_path / "src/copied" / SHARD)
    os.link(shard, tmp_path / "src/hard" / SHARD)
    (tmp_path / "src/soft" / SHARD).symlink_to(shard)
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 2
    assert {(entry["name"], entry["reason"], entry["episodes"]) for entry in skips(store)} == {
        (f"{name}/{SHARD}", f"the same bytes as a/{SHARD}", 0) for name in ("copied", "hard")
    }


def test_the_same_bag_counts_once(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "src/day", spec)
    bag.diagnostics("sim")
    walk(bag, 4)
    bag.writer.close()
    shutil.copytree(tmp_path / "src/day", tmp_path / "src/old")
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1
    assert [entry["reason"] for entry in skips(store)] == ["the same bytes as src/day/day.mcap"]


def test_the_same_trajectory_counts_once(day, tmp_path) -> None:
    shutil.copytree(day.folder, day.root / "2024-01-01_00-00-00")
    assert _import(day.root, tmp_path / "store") == 0
    store = EpisodeStore.open(tmp_path / "store")
    assert store.num_episodes == 2
    assert [(entry.reason.split(" as ")[0], entry.episodes) for entry in store.skipped] == [
        ("the same numbers and images", 0)
    ] * 2


def test_what_an_operating_system_leaves_is_no_episode(tmp_path, tfrecord_maker, day, spec) -> None:
    _shards(tmp_path / "shards", tfrecord_maker)
    (tmp_path / "shards" / f"._{SHARD}").write_bytes(b"\0\5\x16\7" * 20)
    (tmp_path / "shards/.DS_Store").write_bytes(b"x")
    (tmp_path / "shards/__MACOSX").mkdir()
    shutil.copy(tmp_path / "shards" / f"._{SHARD}", tmp_path / "shards/__MACOSX" / SHARD)
    assert _import(tmp_path / "shards", tmp_path / "store") == 0
    assert EpisodeStore.open(tmp_path / "store").skipped == ()
    assert _files(tmp_path / "store")["written by an operating system beside its files"][0] == 3
    for name in ("._traj0", "traj_group0/._im_0.jpg", "traj_group0/traj0/images0/._im_0.jpg"):
        (day.folder / "raw" / name).write_bytes(b"x")
    assert _import(day.root, tmp_path / "raw") == 0
    assert EpisodeStore.open(tmp_path / "raw").skipped == ()
    bag = Bag(tmp_path / "bags/day", spec)
    bag.diagnostics("sim")
    walk(bag, 4)
    bag.writer.close()
    (tmp_path / "bags/day/._day.mcap").write_bytes(b"x")
    assert import_shards(tmp_path / "bags", tmp_path / "recorded").skipped == ()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (f"{SHARD}.gz", b"x", "packed: unpack it, and import again"),
        ("more.mcap.zstd", b"x", "packed: unpack it, and import again"),
        ("demos.zip", b"x", "packed: unpack it, and import again"),
        ("old.db3", b"x", "a bag in SQLite's form"),
        ("notes.txt", b"", "empty: 0 bytes"),
        ("episode.npz", b"x", "an archive of arrays"),
        ("episode.dat", b"x", "no data of the format rlds"),
        ("dataset_info.json", b"{}", "about the data set"),
    ],
)
def test_what_is_not_read_is_told_with_the_reason(tmp_path, tfrecord_maker, capsys, name, content, why) -> None:
    _shards(tmp_path / "src", tfrecord_maker)
    (tmp_path / "src" / name).write_bytes(content)
    assert _import(tmp_path / "src", tmp_path / "store") == 0
    (reason,) = [reason for reason in _files(tmp_path / "store") if reason]
    assert why in reason and _files(tmp_path / "store")[reason] == (1, name)
    out = capsys.readouterr().out
    assert f"1 not looked at, {reason} ({name})" in out and f"1 read ({SHARD})" in out
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "src" / SHARD).unlink()
    assert _import(tmp_path / "src", tmp_path / "store") == 1
    assert name in capsys.readouterr().err


def test_shards_that_are_packed_or_empty_under_their_own_name_are_named(tmp_path, tfrecord_maker) -> None:
    shard = _shards(tmp_path / "src", tfrecord_maker)
    (tmp_path / "src/packed.tfrecord").write_bytes(gzip.compress(shard.read_bytes()))
    (tmp_path / "src/empty.tfrecord").write_bytes(b"")
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 2
    assert {entry["name"]: (entry["reason"], entry["episodes"]) for entry in skips(store)} == {
        "packed.tfrecord": ("packed by gzip: unpack it, and import again", None),
        "empty.tfrecord": ("empty: 0 bytes", None),
    }


def test_an_empty_bag_is_named(spec: RobotSpec, tmp_path: Path) -> None:
    bag = Bag(tmp_path / "src/day", spec)
    bag.diagnostics("sim")
    walk(bag, 4)
    bag.writer.close()
    (tmp_path / "src/none.mcap").write_bytes(b"")
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert [entry["name"] for entry in skips(store)] == ["src/none.mcap"]


def test_the_account_covers_every_file(day, tmp_path) -> None:
    (day.folder / "collection_metadata.json").write_text("{}")
    (day.made[0].folder / "agent_data.pkl").write_bytes(b"x")
    (day.made[0].folder / "depth_images0").mkdir()
    (day.made[0].folder / "depth_images0/im_0.png").write_bytes(b"x")
    (day.root / "lmdb").mkdir()
    (day.root / "lmdb/data.mdb").write_bytes(b"x")
    groups = account(day.root, open_source(day.root).why_not_read)
    assert sum(group.files for group in groups) == sum(path.is_file() for path in day.root.rglob("*"))
    assert {group.reason: group.files for group in groups}[""] == 2 * (4 + 2)


@pytest.mark.parametrize("level", [0, 255])
def test_a_camera_that_shows_nothing_is_reported(day, tmp_path, caplog, capsys, level) -> None:
    for t in range(4):
        Image.new("RGB", (16, 12), (level,) * 3).save(day.made[0].folder / f"images0/im_{t}.jpg")
    assert _import(day.root, tmp_path / "store") == 0
    assert "camera 0 shows one even colour in 1 of 2 episodes" in caplog.text
    assert "one colour   camera 0 in 1 episodes" in capsys.readouterr().out
    assert main(["data", "info", str(tmp_path / "store"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["even_cameras"] == {"0": 1}


def test_a_walk_keeps_its_order_and_files_alike_are_found(tmp_path) -> None:
    for name, content in (("b", b"same"), ("a", b"same"), ("c", b"more"), ("d", b""), ("e", b"")):
        (tmp_path / name).write_bytes(content)
    files = list(Walk(tmp_path).files())
    assert [file.name for file in files] == ["a", "b", "c", "d", "e"]
    assert same_files(files) == {tmp_path / "b": tmp_path / "a"}
