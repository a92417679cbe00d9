"""Promise: an exported store comes back through the import with the same numbers. Raw trees lose no pixel; LeRobot's
videos stay above 33 dB on pictures like a camera's. What cannot be exported is named.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mqe_core.data.exports import lerobot_files, lerobot_meta
from mqe_core.data.exports.bridge_tree import export_bridge_tree
from mqe_core.data.exports.lerobot_set import export_lerobot
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import encode_jpeg
from tests.data.made_episodes import made_episode, write_store
from tests.data.test_lerobot import V30

LEAST_PSNR = 33.0


def smooth(seed: int, size: int) -> np.ndarray:
    """A picture like a camera's: colours that change slowly."""
    blocks = np.random.default_rng(seed).integers(30, 226, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks).resize((size, size), Image.Resampling.BICUBIC))


def episodes(count: int = 4, size: int = 64, cameras: tuple[int, ...] = (0, 2), **changes) -> list:
    """Of 3, 4, 5 … frames; the first camera's are JPEG, as they may stand in a store, the others arrays."""
    made = []
    for k in range(count):
        frames = {c: [smooth(1000 * k + 100 * c + t, size) for t in range(3 + k)] for c in cameras}
        frames |= {c: [encode_jpeg(frame) for frame in frames[c]] for c in cameras[:1]}
        made.append(made_episode(k, 3 + k, images=frames, **changes))
    return made


def back(root: Path, out: Path) -> EpisodeStore:
    return import_episodes(open_source(root), out, source_name="export", trust_units=True)


def psnr(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(T,) dB of (T, H, W, 3) uint8."""
    error = ((found.astype(float) - wanted) ** 2).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / error)


def test_a_raw_tree_comes_back_bit_for_bit(tmp_path: Path) -> None:
    made = episodes(languages=("put it there", "another word"))
    store = write_store(tmp_path / "store", made, image_size=64, domain="sim")
    export_bridge_tree(store, tmp_path / "tree")
    again = back(tmp_path / "tree", tmp_path / "again")
    assert again.metadata["domain"] == "sim" and again.metadata["skipped"] == []
    assert again.languages == store.languages and again.cameras == (0, 2)
    np.testing.assert_array_equal(again.states, store.states)
    np.testing.assert_array_equal(again.actions, store.actions)
    for number in range(store.num_episodes):
        assert again.encoded_episode(number).images == store.encoded_episode(number).images


def test_a_scene_is_one_dated_folder_again(tmp_path: Path) -> None:
    names = ["a/2023-01-01_00-00-00/raw/traj_group0/traj0", "a/2023-01-01_00-00-00/raw/traj_group0/traj1"]
    names += ["a/2020-01-01_00-00-00/raw/traj_group0/traj0", "record#7"]  # recorded with a lag; of no dated folder
    store = write_store(tmp_path / "store", [made_episode(k, name=name) for k, name in enumerate(names)])
    export_bridge_tree(store, tmp_path / "tree")
    folders = sorted((tmp_path / "tree").iterdir())
    assert [len(list(folder.glob("raw/traj_group0/traj*"))) for folder in folders] == [2, 1, 1]
    said = [json.loads((folder / "collection_metadata.json").read_text()) for folder in folders]
    assert sum((each["exported_from"]["episodes"] for each in said), []) == names
    assert said[0]["exported_from"]["fingerprint"] == store.fingerprint
    assert back(tmp_path / "tree", tmp_path / "again").num_frames == store.num_frames  # no frame is taken for lagging


def test_what_a_raw_tree_cannot_hold_is_told(tmp_path: Path, caplog) -> None:
    made = [made_episode(0, split="val", languages=("with confidence: 1",)), made_episode(1)]
    export_bridge_tree(write_store(tmp_path / "store", made), tmp_path / "tree")
    assert "has no splits" in caplog.text and '1 episodes have an instruction with "confidence"' in caplog.text
    ten = write_store(tmp_path / "ten", made, control_hz=10.0)
    with pytest.raises(ValueError, match="has 10 Hz, and a raw Bridge tree is read as 5 Hz.*--to lerobot"):
        export_bridge_tree(ten, tmp_path / "other")


def test_a_lerobot_set_comes_back_with_its_numbers_and_nearly_its_pictures(tmp_path: Path) -> None:
    splits = ["val", "train", "val", ""]
    made = [made_episode(k, split=split, images=e.images, states=e.states, actions=e.actions)
            for k, (split, e) in enumerate(zip(splits, episodes()))]  # fmt: skip
    store = write_store(tmp_path / "store", made, image_size=64, domain="sim", control_hz=10.0)
    export_lerobot(store, tmp_path / "set")
    again = back(tmp_path / "set", tmp_path / "again")
    assert (again.metadata["domain"], again.control_hz, again.cameras) == ("sim", 10.0, (0, 2))
    assert again.metadata["skipped"] == [] and again.metadata["lost_cameras"] == {}
    assert again.splits == ["val", "val", "train", "train"]
    for index, number in enumerate([0, 2, 1, 3]):  # splits are ranges, so episodes are in their order
        found, wanted = again.encoded_episode(index), store.encoded_episode(number)
        np.testing.assert_array_equal(found.states, wanted.states)
        np.testing.assert_array_equal(found.actions, wanted.actions)
        assert found.languages == wanted.languages
        frames = [np.arange(len(wanted.states)) + s.episode_starts[n] for s, n in ((again, index), (store, number))]
        for camera in (0, 2):
            quality = psnr(again.images(frames[0], camera), store.images(frames[1], camera))
            assert (quality > LEAST_PSNR).all(), (number, camera, quality)


def test_the_row_that_leads_nowhere_asks_for_no_motion_and_the_gripper_as_before(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0, 5)])
    export_lerobot(store, tmp_path / "set")
    last = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")["action"].to_pylist()[-1]
    assert last == [0.0] * 6 + [store.actions[3, 6]]


def test_an_episode_without_a_label_has_none_again(tmp_path: Path) -> None:
    made = [made_episode(0, languages=()), made_episode(1, languages=("one", "two"))]
    export_lerobot(write_store(tmp_path / "store", made), tmp_path / "set")
    assert back(tmp_path / "set", tmp_path / "again").languages == [[], ["one", "two"]]


def test_cameras_that_an_episode_lacks_are_left_out_and_named(tmp_path: Path, caplog) -> None:
    made = [made_episode(0, cameras=(0, 1)), made_episode(1, cameras=(1,))]
    export_lerobot(write_store(tmp_path / "store", made), tmp_path / "set")
    assert "camera 0 is not exported: 1 episodes lack it" in caplog.text
    assert back(tmp_path / "set", tmp_path / "again").cameras == (1,)
    neither = write_store(tmp_path / "neither", [made_episode(0), made_episode(1, cameras=(1,))])
    with pytest.raises(ValueError, match="camera 0 in 1, camera 1 in 1.*have the same cameras: import the source"):
        export_lerobot(neither, tmp_path / "other")
    none = write_store(tmp_path / "none", [made_episode(0, cameras=())])
    export_lerobot(none, tmp_path / "numbers")
    assert json.loads((tmp_path / "numbers/meta/info.json").read_text())["video_path"] is None


def test_a_large_set_has_several_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lerobot_meta, "VIDEO_MB", 1e-6)
    monkeypatch.setattr(lerobot_meta, "DATA_MB", 1e-6)
    monkeypatch.setattr(lerobot_meta, "FILES_IN_CHUNK", 2)
    monkeypatch.setattr(lerobot_files, "_EPISODES_AT_A_TIME", 2)
    store = write_store(tmp_path / "store", [made_episode(k, 40, size=16) for k in range(3)])
    export_lerobot(store, tmp_path / "set")
    assert (tmp_path / "set/data/chunk-001/file-000.parquet").is_file()
    assert len(list((tmp_path / "set/videos").rglob("*.mp4"))) > 1
    again = back(tmp_path / "set", tmp_path / "again")
    np.testing.assert_array_equal(again.actions, store.actions)
    assert again.metadata["lost_cameras"] == {} and again.has_image(0).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"image_size": 17}, "images of 17 pixels, and a video has an even number.*--image-size 16"),
        ({"control_hz": 7.5}, "has 7.5 Hz, and a LeRobot data set a whole number"),
    ],
)
def test_a_store_that_fits_no_lerobot_set_is_named(options, reason, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)], **options)
    with pytest.raises(ValueError, match=reason):
        export_lerobot(store, tmp_path / "set")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]


@pytest.mark.skipif(not V30.is_dir(), reason=f"no sample at {V30}")
def test_the_set_has_the_form_of_one_that_the_lerobot_package_wrote(tmp_path: Path) -> None:
    store = back(V30, tmp_path / "store")
    export_lerobot(store, tmp_path / "set")
    for name in ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"):
        ours, theirs = (pq.read_schema(root / name) for root in (tmp_path / "set", V30))
        fields = [{f.name: f.type for f in schema} for schema in (ours, theirs)]
        assert fields[0] == fields[1], name
    rows, others = (pq.read_table(root / "data/chunk-000/file-000.parquet") for root in (tmp_path / "set", V30))
    for key in ("observation.state", "timestamp", "frame_index", "episode_index", "index", "task_index"):
        assert rows[key].equals(others[key]), key
    stated = [json.loads((root / "meta/info.json").read_text()) for root in (tmp_path / "set", V30)]
    names = stated[1]["features"]["observation.state"].pop("names"), stated[1]["features"]["action"].pop("names")
    assert names == (["x", "y", "z", "roll", "pitch", "yaw", "gripper"],) * 2
    assert stated[0]["features"]["observation.state"].pop("names") == stated[0]["features"]["action"].pop("names")
    assert stated[0] == stated[1]
    tasks = [pq.read_table(root / "meta/tasks.parquet").to_pydict() for root in (tmp_path / "set", V30)]
    assert tasks[0] == tasks[1]
    found, wanted = (json.loads((root / "meta/stats.json").read_text()) for root in (tmp_path / "set", V30))
    assert found.keys() == wanted.keys()
    for key, each in wanted.items():
        assert {n: np.shape(v) for n, v in found[key].items()} == {n: np.shape(v) for n, v in each.items()}, key
    for statistic in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(
            found["observation.state"][statistic], wanted["observation.state"][statistic], atol=1e-6
        )
    with av.open(str(tmp_path / "set/videos/observation.images.image_0/chunk-000/file-000.mp4")) as container:
        assert container.streams.video[0].average_rate == 5 and container.streams.video[0].frames == 60


@pytest.mark.parametrize("package", ["av", "pyarrow"])
def test_without_the_packages_the_error_names_the_line_that_installs_them(package, monkeypatch, tmp_path) -> None:
    store = write_store(tmp_path / "store", [made_episode(0)])
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.parquet", None)
    with pytest.raises(ValueError, match=f"needs {package}.*pip install -r requirements/lerobot.txt"):
        export_lerobot(store, tmp_path / "set")
