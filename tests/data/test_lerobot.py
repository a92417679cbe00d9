"""LeRobot data sets: those that the lerobot package wrote are read whole; damage is named and costs what it must."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import encode_png
from tests.data.test_published_forms import FIXTURES, numbers

OTHER = "observation.images.image_1"  # stands beside the numbers
V21 = FIXTURES / "lerobot_v21"
SHARED = Path(__file__).parents[3] / "shared" / "data"
V30 = Path(os.environ.get("MQE_LEROBOT_SAMPLE", SHARED / "bridge_lerobot_v3"))
RLDS = Path(os.environ.get("MQE_BRIDGE_SAMPLE", SHARED / "bridge_rlds_sample"))
DATA, VIDEO = "data/chunk-000/episode_000000.parquet", "videos/chunk-000/observation.images.image_0/episode_000000.mp4"


def read(root: Path, out: Path) -> EpisodeStore:
    return import_episodes(open_source(root), out, source_name="src")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(V21, tmp_path / "src")
    return tmp_path / "src"


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_version_2_is_read_whole(tmp_path: Path) -> None:
    store = read(V21, tmp_path / "store")
    assert (store.metadata["format"], store.control_hz, store.cameras, store.image_size) == ("lerobot", 5.0, (0, 1), 32)
    assert store.metadata["skipped"] == [] and store.languages == [["task 40"], ["task 41"]]
    assert store.splits == ["train", "train"]
    for number, k in enumerate((40, 41)):
        states, actions = numbers(k, 5)
        episode = store.encoded_episode(number)
        np.testing.assert_array_equal(episode.states, states)
        np.testing.assert_array_equal(episode.actions, actions[:-1])
    pictures = [store.images(np.arange(10), camera) for camera in (0, 1)]
    assert (pictures[1][3, 0, 0] == [140, 100, 200]).all()  # beside the numbers, as it was
    assert np.abs(pictures[0][:, 8, 4].astype(int) - pictures[1][:, 8, 4]).max() < 12  # through the video codec


@pytest.mark.skipif(not (V30.is_dir() and RLDS.is_dir()), reason=f"no samples at {V30} and {RLDS}")
def test_version_3_holds_what_its_rlds_form_holds(tmp_path: Path) -> None:
    video, pictures = read(V30, tmp_path / "v3"), read(RLDS, tmp_path / "rlds")
    assert video.num_episodes == 6 and video.metadata["skipped"] == []
    np.testing.assert_array_equal(video.states, pictures.states[:60])
    np.testing.assert_array_equal(video.actions, pictures.actions[:60])
    frames = np.arange(60)
    apart = np.abs(video.images(frames).astype(int) - pictures.images(frames).astype(int)).mean(axis=(1, 2, 3))
    others = np.abs(video.images(frames).astype(int) - pictures.images((frames + 1) % 60).astype(int))
    assert apart.max() < 6 and apart.mean() < others.mean()  # each frame is its own, not its neighbour


def write_video(file: Path, rate: int, count: int, gap_at: int | None = None) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = 32
        for t in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * t, np.uint8), format="rgb24")
            frame.pts = t + (1 if gap_at is not None and t >= gap_at else 0)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "not a readable video"),
        (lambda file: file.write_bytes(file.read_bytes()[:300]), "episode_000000.mp4: no"),
        (lambda file: file.write_bytes(b"no video"), "not a readable video"),
        (lambda file: write_video(file, 5, 3), "camera 0 has 3 images for 5 states"),
        (lambda file: write_video(file, 7, 9), "no frame at 0.200 s"),
        (lambda file: write_video(file, 5, 5, gap_at=2), "a variable frame rate"),
    ],
)
def test_a_bad_video_costs_that_camera_of_that_episode(damage, reason, copy, tmp_path, caplog) -> None:
    damage(copy / VIDEO)
    store = read(copy, tmp_path / "store")
    assert store.num_episodes == 2 and reason in caplog.text
    assert store.has_image(0)[store.episode_starts].tolist() == [False, True] and store.has_image(1).all()


def test_a_video_of_another_codec_is_read(copy, tmp_path) -> None:
    write_video(copy / VIDEO, 5, 5)
    assert read(copy, tmp_path / "store").has_image(0).all()


def _table(file: Path, change) -> None:
    pq.write_table(change(pq.read_table(file)), file)


def _with(table: pa.Table, key: str, values: list) -> pa.Table:
    return table.set_column(table.column_names.index(key), key, pa.array(values))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-50]), "not a readable parquet file"),
        (lambda file: file.write_bytes(b""), "not a readable parquet file"),
        (lambda file: file.unlink(), "not a readable parquet file"),
        (lambda file: _table(file, lambda t: t.drop_columns(["action"])), "no columns action"),
        (
            lambda file: _table(file, lambda t: t.slice(0, 4)),
            "4 rows in episode_000000.parquet, its description says 5",
        ),
        (
            lambda file: _table(file, lambda t: _with(t, "action", [[np.nan] * 7] * 5)),
            "actions hold a value that is not",
        ),
        (lambda file: _table(file, lambda t: _with(t, "action", [[0.0] * 6] * 5)), "actions of size 7"),
        (lambda file: _table(file, lambda t: _with(t, "action", [[0.0] * 7] * 4 + [[1.0]])), "rows of different sizes"),
    ],
)
def test_bad_rows_cost_their_episode(damage, reason, copy, tmp_path) -> None:
    damage(copy / DATA)
    store = read(copy, tmp_path / "store")
    (skipped,) = store.metadata["skipped"]
    assert store.num_episodes == 1 and skipped["episodes"] == 1 and reason in skipped["reason"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codebase_version": "v1.6"}, "codebase v1.6; v2.x and v3.x are read: convert it"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": "x"}, "info.json does not describe a LeRobot data set: fps is 'x'"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": [5]}, r"fps is \[5\]"),
        ({"features": None}, "does not describe a LeRobot data set"),
        ({"features": {"action": 7}}, "features is {'action': 7}"),
        ({"chunks_size": 0}, "chunks_size is 0"),
        ({"chunks_size": "many"}, "chunks_size is 'many'"),
        ({"splits": 3}, "splits is 3"),
        ({"data_path": "{"}, "meta does not describe a LeRobot data set"),
        ({"data_path": "../../{episode_index}"}, "lies outside the data set"),
        ({"data_path": "{nothing}"}, "does not describe a LeRobot data set"),
    ],
)
def test_a_description_that_cannot_be_used_is_named(changes, reason, copy, tmp_path) -> None:
    change_json(copy / "meta" / "info.json", **changes)
    with pytest.raises(ValueError, match=reason):
        read(copy, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("content", [b"", b'{"codebase_version": "v2.1", "fps"', b"[1]", b"7", b"\xff\xfe", b"{}"])
def test_a_broken_description_says_that_it_is_one_of_lerobot(content, copy, tmp_path) -> None:
    (copy / "meta" / "info.json").write_bytes(content)
    with pytest.raises(ValueError, match="a LeRobot data set"):
        read(copy, tmp_path / "store")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"7",
        b'{"episode_index": "x", "length": 5}',
        b'{"episode_index": 0}',
        b'{"episode_index": 0, "length": []}',
    ],
)
def test_a_broken_line_of_the_episodes_is_named(line, copy, tmp_path) -> None:
    (copy / "meta" / "episodes.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match="meta does not describe a LeRobot data set"):
        read(copy, tmp_path / "store")


def png(width: int) -> dict:
    return {"bytes": encode_png(np.zeros((32, width, 3), np.uint8)), "path": None}


def _with_picture(table: pa.Table, row: int, picture: dict) -> pa.Table:
    pictures = table[OTHER].to_pylist()
    pictures[row] = picture
    return table.set_column(table.column_names.index(OTHER), OTHER, pa.array(pictures, table[OTHER].type))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda t: _with_picture(t, 2, png(30)),
            "camera 1, frame 2: image is 30x32 pixels, the episode's first is 32x32",
        ),
        (
            lambda t: _with_picture(t, 2, {"bytes": b"none", "path": None}),
            "camera 1, frame 2: not a readable JPEG or PNG",
        ),
        (lambda t: _with(t, "timestamp", [0.0, float("nan"), 0.4, 0.6, 0.8]), "timestamps are no ascending seconds"),
        (lambda t: _with(t, "timestamp", [0.0, 0.4, 0.2, 0.6, 0.8]), "timestamps are no ascending seconds"),
        (lambda t: _with(t, "observation.state", [[float("inf")] * 7] * 5), "states hold a value that is not finite"),
        (lambda t: _with(t, "observation.state", [[0.0] * 9] * 5), r"states of shape \(T, 7\), got \(5, 9\)"),
        (lambda t: _with(t, "observation.state", ["a"] * 5), "or no numbers"),
    ],
)
def test_pictures_and_times_that_do_not_fit_cost_their_episode(damage, reason, copy, tmp_path) -> None:
    _table(copy / DATA, damage)
    (skipped,) = read(copy, tmp_path / "store").metadata["skipped"]
    assert re.search(reason, skipped["reason"]), skipped


def test_an_episode_of_no_rows_is_skipped(copy, tmp_path) -> None:
    lines = (copy / "meta" / "episodes.jsonl").read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"length": 0})
    (copy / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    _table(copy / DATA, lambda table: table.slice(0, 0))
    (skipped,) = read(copy, tmp_path / "store").metadata["skipped"]
    assert "expected at least 2 rows, got 0" in skipped["reason"]


def test_episodes_that_are_counted_and_not_described_are_named(copy, tmp_path) -> None:
    lines = (copy / "meta" / "episodes.jsonl").read_text().splitlines()
    (copy / "meta" / "episodes.jsonl").write_text(lines[0] + "\n")
    (skipped,) = read(copy, tmp_path / "store").metadata["skipped"]
    assert skipped["reason"] == "meta/info.json counts 2 episodes, 1 are described" and skipped["episodes"] == 1


def test_another_rate_is_the_stores_rate(copy, tmp_path) -> None:
    change_json(copy / "meta" / "info.json", fps=10)
    assert read(copy, tmp_path / "store").control_hz == 10.0


@pytest.mark.parametrize("package", ["av", "pyarrow"])
def test_without_the_packages_the_error_names_the_line_that_installs_them(package, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.parquet", None)
    shutil.copytree(V21, tmp_path / "src", ignore=shutil.ignore_patterns("*image_1*"))
    info = json.loads((V21 / "meta" / "info.json").read_text())
    del info["features"]["observation.images.image_1"]  # so that no camera is left without the decoder
    (tmp_path / "src" / "meta" / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=f"needs {package}.*pip install -r requirements/lerobot.txt"):
        read(tmp_path / "src", tmp_path / "store")
