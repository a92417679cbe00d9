"""From an EpisodeStore to a LeRobot data set of codebase v3.0, without the `lerobot` package.

    meta/info.json, meta/stats.json, meta/tasks.parquet, meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet          rows, one row group for each episode
    videos/<camera>/chunk-000/file-000.mp4   pictures of many episodes, one after the other

Numbers are the store's, bit for bit. An episode's last frame, which has no action, gets one that leads nowhere: no
motion, the gripper as asked before. Pictures go through a video codec, which is lossy (`video_file`). All rows have the
same cameras, so one that some episode lacks is left out. Splits are ranges: episodes are put in their order.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.exports import lerobot_meta as meta
from mqe_core.data.exports import statistics
from mqe_core.data.exports.growing_folder import growing
from mqe_core.data.exports.lerobot_files import Episodes, Rows, Videos
from mqe_core.data.exports.statistics import Statistics
from mqe_core.data.readers.collection_metadata import describe_export
from mqe_core.data.readers.lerobot_layout import INFO, NO_TASK
from mqe_core.data.readers.video import require
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.kinds import LEROBOT
from mqe_core.files.outputs import check_folder
from mqe_core.files.progress import Progress
from mqe_core.robot.arrays import AnyArray, Float32s

log = logging.getLogger(__name__)

_TRAIN = "train"  # the split of episodes whose store names none


def export_lerobot(store: EpisodeStore, out: Path, *, progress: bool = False) -> None:
    """Write all episodes of `store` to a new folder `out`.

    ValueError, before anything is written, where something stands there, a package is missing, or the store's rate or
    picture size is none of a LeRobot data set, or no camera is in all episodes; WriteError, leaving nothing, where the
    disk does not take it.
    """
    for package in ("av", "pyarrow.parquet"):
        require(package)
    fps, cameras = _whole_rate(store), _cameras_of_all(store)
    if cameras and store.image_size % 2:
        raise ValueError(
            f"{store.path} has images of {store.image_size} pixels, and a video has an even number: import its source "
            f"again with --image-size {store.image_size - 1}"
        )
    check_folder(out, LEROBOT, reads=[store.path])
    splits = [split or _TRAIN for split in store.splits]
    order = [number for split in dict.fromkeys(splits) for number in range(len(splits)) if splits[number] == split]
    with growing(out) as partial:
        with ExitStack() as stack:
            videos = [stack.enter_context(Videos(partial, c, store.image_size, fps)) for c in cameras]
            rows, episodes = stack.enter_context(Rows(partial)), stack.enter_context(Episodes(partial))
            tasks: dict[str, int] = {}
            for index, number in enumerate(Progress(order, unit="episode", desc="exporting", disable=not progress)):
                episodes.append(*_export_episode(store, number, index, rows, videos, tasks, fps))
        described = {
            "codebase_version": meta.VERSION,
            "robot_type": "widowx",
            "total_episodes": store.num_episodes,
            "total_frames": store.num_frames,
            "total_tasks": len(tasks),
            "chunks_size": meta.FILES_IN_CHUNK,
            "data_files_size_in_mb": meta.DATA_MB,
            "video_files_size_in_mb": meta.VIDEO_MB,
            "fps": fps,
            "splits": _ranges([splits[number] for number in order]),
            "data_path": meta.DATA_PATH,
            "video_path": meta.VIDEO_PATH if cameras else None,
            "features": meta.features(cameras, store.image_size, fps),
        }
        parquet = require("pyarrow.parquet")
        parquet.write_table(meta.task_table(list(tasks)), partial / "meta" / "tasks.parquet")
        _write_json(partial / "meta" / "stats.json", statistics.as_lists(episodes.statistics))
        describe_export(partial / "meta", store, order)
        _write_json(partial / INFO, described)  # last: without it nobody takes the folder for a data set


def _whole_rate(store: EpisodeStore) -> int:
    if store.control_hz != int(store.control_hz):
        raise ValueError(f"{store.path} has {store.control_hz:g} Hz, and a LeRobot data set a whole number")
    return int(store.control_hz)


def _cameras_of_all(store: EpisodeStore) -> list[int]:
    """The cameras that every episode has."""
    missing = {c: int((~store.has_image(c)[store.episode_starts]).sum()) for c in store.cameras}
    whole = [camera for camera, count in missing.items() if not count]
    if missing and not whole:
        raise ValueError(
            f"{store.path}: each camera is missing in some episode ("
            + ", ".join(f"camera {camera} in {count}" for camera, count in missing.items())
            + "), and all rows of a LeRobot data set have the same cameras: import the source again with --cameras"
        )
    for camera in missing.keys() - set(whole):
        log.warning("camera %d is not exported: %d episodes lack it", camera, missing[camera])
    return whole


def _export_episode(
    store: EpisodeStore,
    number: int,
    index: int,
    rows: Rows,
    videos: list[Videos],
    tasks: dict[str, int],
    fps: int,
) -> tuple[dict[str, Any], dict[str, Statistics]]:
    """Write episode `number` of the store as the one of that index; returns what is said of it, and its statistics by
    feature.
    """
    end, start = int(store.episode_ends[number]), int(store.episode_starts[number])
    languages = store.languages[number] or [NO_TASK]
    of_task = [tasks.setdefault(text, len(tasks)) for text in languages][0]
    frames, first = np.arange(end - start), rows.num_rows
    columns: dict[str, AnyArray] = {
        "observation.state": store.states[start:end],
        "action": _with_rest(store.actions[start : end - 1]),
        "timestamp": (frames / fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(len(frames), index),
        "index": first + frames,
        "task_index": np.full(len(frames), of_task),
    }
    place = rows.append(columns)
    entry: dict[str, Any] = {
        "episode_index": index,
        "tasks": languages,
        "length": len(frames),
        "data/chunk_index": place["chunk_index"],
        "data/file_index": place["file_index"],
        "dataset_from_index": first,
        "dataset_to_index": first + len(frames),
    }
    found: dict[str, Statistics] = {}
    for video in videos:
        pictures = store.images(np.arange(start, end), video.camera)
        entry |= video.append(pictures)
        found[meta.camera_key(video.camera)] = statistics.of_images(pictures)
    found |= {name: statistics.of_rows(values) for name, values in columns.items()}
    return entry, found


def _with_rest(actions: Float32s) -> Float32s:
    """(T-1, 7) → (T, 7): the last one asks for no motion, and the gripper as before."""
    rest = np.zeros((1, actions.shape[1]), dtype=np.float32)
    rest[0, -1] = actions[-1, -1]
    return np.concatenate([actions, rest])


def _ranges(splits: list[str]) -> dict[str, str]:
    """The splits of all episodes in order, each split in one piece → `first:end` of each."""
    return {name: f"{splits.index(name)}:{splits.index(name) + splits.count(name)}" for name in dict.fromkeys(splits)}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
