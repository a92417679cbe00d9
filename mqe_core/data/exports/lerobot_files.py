"""The files of a LeRobot data set while they grow: rows, what is said of each episode, videos. A new file begins where
one has become large. Nothing of an episode that is written stays in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mqe_core.data.exports import lerobot_meta as meta
from mqe_core.data.exports import statistics
from mqe_core.data.exports.statistics import Statistics
from mqe_core.data.exports.video_file import VideoFile
from mqe_core.data.readers.video import require
from mqe_core.robot.arrays import AnyArray, Images

_MB = 10**6
_EPISODES_AT_A_TIME = 256  # that are said in one row group


class Rows:
    """The parquet files of all rows; use as a context manager."""

    def __init__(self, root: Path) -> None:
        self.num_rows = 0
        self._root = root
        self._schema = meta.row_schema()
        self._file = -1
        self._bytes = 0  # of the open file, before they are compressed
        self._writer: Any = None

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def append(self, columns: dict[str, AnyArray]) -> dict[str, int]:
        """An episode's columns, (T,) or (T, 7) each, as a row group; returns the file's place."""
        if self._writer is None or self._bytes > meta.DATA_MB * _MB:
            self.__exit__()
            self._file, self._bytes = self._file + 1, 0
            path = self._root / meta.DATA_PATH.format(**_place(self._file))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = require("pyarrow.parquet").ParquetWriter(path, self._schema)
        values = {name: column if column.ndim == 1 else list(column) for name, column in columns.items()}
        self._writer.write_table(require("pyarrow").table(values, schema=self._schema))
        self._bytes += sum(column.nbytes for column in columns.values())
        self.num_rows += len(columns["index"])
        return _place(self._file)


class Episodes:
    """meta/episodes: a row for each episode; use as a context manager.

    Attributes:
        statistics: of all episodes so far, by feature.
    """

    def __init__(self, root: Path) -> None:
        self.statistics: dict[str, Statistics] = {}
        self._path = root / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
        self._path.parent.mkdir(parents=True)
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def __enter__(self) -> Episodes:
        return self

    def __exit__(self, exception_type: object, *_: object) -> None:
        if exception_type is None and self._rows:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def append(self, entry: dict[str, Any], found: dict[str, Statistics]) -> None:
        """What is said of an episode, and its statistics."""
        lists = statistics.as_lists(found)
        of_episode = {f"stats/{name}/{key}": value for name, each in lists.items() for key, value in each.items()}
        self._rows.append({**entry, **of_episode, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        before = {name: [value] for name, value in self.statistics.items()}
        self.statistics = {name: statistics.together([*before.get(name, []), each]) for name, each in found.items()}
        if len(self._rows) == _EPISODES_AT_A_TIME:
            self._write()

    def _write(self) -> None:
        schema = None if self._writer is None else self._writer.schema
        table = require("pyarrow").Table.from_pylist(self._rows, schema=schema)
        if self._writer is None:
            self._writer = require("pyarrow.parquet").ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)
        self._rows.clear()


class Videos:
    """The mp4 files of one camera; use as a context manager."""

    def __init__(self, root: Path, camera: int, size: int, fps: int) -> None:
        self.camera = camera
        self._root, self._size, self._fps = root, size, fps
        self._file = -1
        self._video: VideoFile | None = None

    def __enter__(self) -> Videos:
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._video is not None:
            self._video.__exit__(*exception)

    def append(self, pictures: Images) -> dict[str, Any]:
        """An episode's (T, size, size, 3); returns where they lie, as its row in meta/episodes has it."""
        key = meta.camera_key(self.camera)
        if self._video is None or self._video.num_bytes() > meta.VIDEO_MB * _MB:
            self.__exit__(None)
            self._file += 1
            path = self._root / meta.VIDEO_PATH.format(video_key=key, **_place(self._file))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._video = VideoFile(path, self._size, self._fps)
        begin = self._video.seconds
        self._video.append(pictures)
        place = {f"videos/{key}/{name}": value for name, value in _place(self._file).items()}
        times = {f"videos/{key}/from_timestamp": begin, f"videos/{key}/to_timestamp": self._video.seconds}
        return place | times


def _place(file: int) -> dict[str, int]:
    return {"chunk_index": file // meta.FILES_IN_CHUNK, "file_index": file % meta.FILES_IN_CHUNK}
