"""Damage in a LeRobot v3.0 data set, whose files hold many episodes, is named and costs what it must and no more."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mqe_core.data.exports.lerobot_set import export_lerobot
from mqe_core.data.exports.video_file import VideoFile
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.readers.video import read_frames
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store

ROWS, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.image_0/chunk-000/file-000.mp4"
BEGIN = "videos/observation.images.image_0/from_timestamp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three episodes of 5 frames and two cameras."""
    store = write_store(tmp_path / "made", [made_episode(k, cameras=(0, 1)) for k in range(3)])
    export_lerobot(store, tmp_path / "src")
    return tmp_path / "src"


def read(root: Path) -> EpisodeStore:
    return import_episodes(open_source(root), root.parent / "store", source_name="src", trust_units=True)


def change(file: Path, key: str, values: list) -> None:
    table = pq.read_table(file)
    column = pa.array(values, table.schema.field(key).type)
    pq.write_table(table.set_column(table.column_names.index(key), key, column), file)


def test_a_video_that_is_shorter_than_its_rows_costs_the_camera_of_the_episodes_behind(root, caplog) -> None:
    (root / VIDEO).unlink()
    with VideoFile(root / VIDEO, 16, 5) as video:
        video.append(np.zeros((8, 16, 16, 3), np.uint8))  # of 15: the first episode, and three frames
    store = read(root)
    assert store.has_image(0)[store.episode_starts].tolist() == [True, False, False] and store.has_image(1).all()
    assert "camera 0 has 3 images for 5 states" in caplog.text and "camera 0 has 0 images for 5 states" in caplog.text
    assert store.metadata["lost_cameras"] == {"0": 2} and store.metadata["skipped"] == []


@pytest.mark.parametrize("begin", [float("nan"), float("inf"), -5.0, 0.07, 1e300])
def test_a_begin_that_is_none_costs_the_camera_of_that_episode(begin, root, caplog) -> None:
    change(root / EPISODES, BEGIN, [0.0, begin, 2.0])
    store = read(root)
    assert store.has_image(0)[store.episode_starts].tolist() == [True, False, True] and store.has_image(1).all()
    assert "without camera 0: file-000.mp4: " in caplog.text


def test_a_video_without_pictures_costs_its_camera(root, caplog) -> None:
    (root / VIDEO).unlink()
    with av.open(str(root / VIDEO), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read(root).cameras == (1,) and "no video stream" in caplog.text


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("file", [ROWS, EPISODES, VIDEO])
def test_a_file_that_ends_early_is_named(file, share, root, caplog) -> None:
    whole = (root / file).read_bytes()
    (root / file).write_bytes(whole[: int(share * len(whole))])
    if file == VIDEO:
        store = read(root)
        assert store.num_episodes == 3 and store.cameras == (1,) and "without camera 0" in caplog.text
        return
    with pytest.raises(ValueError, match="not a readable parquet file|file-000.parquet: not readable"):
        read(root)
    assert not (root.parent / "store").exists()


def test_rows_of_one_episode_that_are_gone_cost_that_episode(root) -> None:
    table = pq.read_table(root / ROWS)
    pq.write_table(table.filter(pa.compute.not_equal(table["index"], 7)), root / ROWS)
    store = read(root)
    (skipped,) = store.metadata["skipped"]
    assert store.num_episodes == 2 and "4 rows in file-000.parquet, its description says 5" in skipped["reason"]


def test_a_description_without_a_column_is_named(root) -> None:
    pq.write_table(pq.read_table(root / EPISODES).drop_columns([BEGIN]), root / EPISODES)
    with pytest.raises(ValueError, match=f"does not describe a LeRobot data set: KeyError.*{BEGIN}"):
        read(root)


def test_times_that_are_none_are_refused(root) -> None:
    for times in ([0.0, np.nan], [np.inf], [-1.0, 0.2], []):
        with pytest.raises(ValueError, match="expected times from 0 on"):
            read_frames(root / VIDEO, np.array(times))
