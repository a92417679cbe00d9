"""What a LeRobot data set of codebase v3.0 says of itself: its features, and its rows in Arrow's types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mqe_core.data.exports.video_file import CODEC, PIXELS
from mqe_core.data.readers.video import require
from mqe_core.data.units import STATE_NAMES

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_IN_CHUNK, DATA_MB, VIDEO_MB = 1000, 100, 200
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def camera_key(camera: int) -> str:
    """The feature of a camera's pictures."""
    return f"observation.images.image_{camera}"


def features(cameras: Sequence[int], size: int, fps: int) -> dict[str, dict[str, Any]]:
    """By name: type, shape and what its numbers are."""
    video = {
        "video.height": size,
        "video.width": size,
        "video.codec": CODEC,
        "video.pix_fmt": PIXELS,
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
    pictures = {"dtype": "video", "shape": [size, size, 3], "names": ["height", "width", "channels"], "info": video}
    numbers = {"dtype": "float32", "shape": [len(STATE_NAMES)], "names": list(STATE_NAMES)}
    return {
        **{camera_key(camera): pictures for camera in cameras},
        "observation.state": numbers,
        "action": numbers,
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS},
    }


def row_schema() -> Any:
    """Of the rows' parquet files, with what the `datasets` package wants to know beside Arrow's own types."""
    arrow = require("pyarrow")
    vectors = {name: ("float32", len(STATE_NAMES)) for name in ("observation.state", "action")}
    scalars = {"timestamp": "float32", **dict.fromkeys(COUNTERS, "int64")}
    types = {name: arrow.list_(arrow.float32(), length) for name, (_, length) in vectors.items()}
    types |= {name: arrow.float32() if kind == "float32" else arrow.int64() for name, kind in scalars.items()}
    said: dict[str, Any] = {
        name: {"feature": {"dtype": kind, "_type": "Value"}, "length": length, "_type": "List"}
        for name, (kind, length) in vectors.items()
    }
    said |= {name: {"dtype": kind, "_type": "Value"} for name, kind in scalars.items()}
    return arrow.schema(list(types.items()), metadata={"huggingface": json.dumps({"info": {"features": said}})})


def task_table(tasks: Sequence[str]) -> Any:
    """Number by text, the text being the index of a pandas table."""
    arrow = require("pyarrow")
    index = "__index_level_0__"

    def column(name: str | None, field: str, kind: str, stored: str) -> dict[str, object]:
        return {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": stored, "metadata": None}

    said = {
        "index_columns": [index],
        "column_indexes": [{**column(None, "", "unicode", "object"), "field_name": None}],
        "columns": [
            column("task_index", "task_index", "int64", "int64"),
            column(None, index, "unicode", "object"),
        ],
        "creator": {"library": "pyarrow", "version": arrow.__version__},
        "pandas_version": "2.2.0",
    }
    schema = arrow.schema(
        [("task_index", arrow.int64()), (index, arrow.string())], metadata={"pandas": json.dumps(said)}
    )
    return arrow.table({"task_index": list(range(len(tasks))), index: list(tasks)}, schema=schema)
