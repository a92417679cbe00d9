"""LeRobot data sets, codebase v2.x and v3.x: numbers in parquet files, pictures in mp4 files or beside the numbers.

`observation.state` (T, 7) and `action` (T, 7) in a store's order; `observation.images.image_<c>` is camera c. The
action of an episode's last row leads nowhere and is dropped. A video that is unreadable, varies in rate, or ends before
its rows costs that camera of that episode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.episode import Episode, Skipped, without_vanished
from mqe_core.data.readers.collection_metadata import one_domain
from mqe_core.data.readers.lerobot_layout import EpisodeEntry, LeRobotLayout, is_lerobot, read_layout
from mqe_core.data.readers.video import read_frames, require
from mqe_core.data.source import EpisodeTask, natural_key, no_camera
from mqe_core.data.source_files import Walk, below, why_of_no_format
from mqe_core.data.units import seven_columns
from mqe_core.files.placeholders import why_unreadable
from mqe_core.robot.arrays import AnyArray, Images

_PREFIX = "observation.images."
_CAMERA = re.compile(r"observation\.images\.images?_?(\d+)")
_STATE, _ACTION = "observation.state", "action"
_NUMBERS = ["episode_index", "timestamp", _STATE, _ACTION]


class LeRobotSource:
    """All LeRobot data sets at or below `root`, each known by its `meta/info.json`."""

    format = "lerobot"

    def __init__(self, root: Path, cameras: Sequence[str] = ()) -> None:
        """`cameras`: features that hold the images of camera 0, 1 …, in place of `observation.images.image_<c>`."""
        self.root = root
        self._cameras = tuple(cameras)
        folders = [folder for folder, _, _ in Walk(root).folders() if is_lerobot(folder)] if root.is_dir() else []
        self._folders = sorted(folders, key=lambda path: natural_key(path.as_posix()))
        self._layouts: list[LeRobotLayout] | None = None

    def is_empty(self) -> bool:
        return not self._folders

    def num_episodes(self) -> int:
        return sum(len(layout.episodes) for layout in self._read())

    def control_hz(self) -> float:
        """Rows per second. ValueError where the data sets differ in that."""
        rates = {layout.fps for layout in self._read()}
        if len(rates) != 1:
            raise ValueError(
                f"{self.root} mixes data sets of {sorted(rates)} fps; import them into stores of their own"
            )
        return rates.pop()

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        for layout in self._read():
            for file, entries in groupby(layout.episodes, key=lambda entry: entry.data):
                yield from self._file_tasks(layout, file, list(entries))
            stated, listed = layout.info.get("total_episodes"), len(layout.episodes)
            if isinstance(stated, int) and stated != listed:
                reason = f"meta/info.json counts {stated} episodes, {listed} are described"
                yield Skipped(below(self.root, layout.root / "meta"), reason, max(stated - listed, 0))

    def why_not_read(self, file: Path) -> str | None:
        for folder in self._folders:
            if file.is_relative_to(folder):
                top = file.relative_to(folder).parts[0]
                if top in ("data", "videos"):
                    return None
                if top == "images":
                    return "not used by an import"
                return "about the data set" if top in ("meta", "README.md") else why_of_no_format(file, self.format)
        return why_of_no_format(file, self.format)

    def domain(self) -> str:
        return one_domain([folder / "meta" for folder in self._folders], self.root)

    def _read(self) -> list[LeRobotLayout]:
        if self._layouts is None:
            self._layouts = [read_layout(folder) for folder in self._folders]
        return self._layouts

    def _file_tasks(
        self, layout: LeRobotLayout, file: Path, entries: list[EpisodeEntry]
    ) -> Iterator[EpisodeTask | Skipped]:
        name = below(self.root, layout.root / file.relative_to(layout.root))
        try:
            columns = _read_numbers(file)
        except (ValueError, OSError) as error:
            yield Skipped(name, str(error), len(entries))
            return
        for entry in entries:
            rows = np.flatnonzero(columns["episode_index"] == entry.index)
            numbers = {key: values[rows] for key, values in columns.items()}
            each = f"{name}#{entry.index}"
            yield EpisodeTask(each, partial(load_episode, layout, entry, numbers, each, self._cameras))


def load_episode(
    layout: LeRobotLayout, entry: EpisodeEntry, numbers: dict[str, AnyArray], name: str, cameras: Sequence[str] = ()
) -> Episode:
    """An episode of T rows; `numbers` are its columns. ValueError where they do not fit, or no camera is left."""
    states = seven_columns(numbers[_STATE], _STATE)
    if len(states) != entry.length:
        raise ValueError(f"{len(states)} rows in {entry.data.name}, its description says {entry.length}")
    actions = seven_columns(numbers[_ACTION], _ACTION)
    times_s = numbers["timestamp"].astype(np.float64)
    if len(states) < 2:
        raise ValueError(f"expected at least 2 rows, got {len(states)}")
    if times_s.shape != (len(states),) or not (np.diff(times_s, prepend=-1.0) > 0).all():
        raise ValueError("its timestamps are no ascending seconds from 0 on")
    kinds = layout.image_keys()
    keys = {int(match[1]): key for key in kinds if (match := _CAMERA.fullmatch(key))}
    if cameras:
        keys = {c: key if key in kinds else _PREFIX + key for c, key in enumerate(cameras)}
        if missing := [key for key in keys.values() if key not in kinds]:
            raise ValueError(f"no images under --camera {', '.join(missing)}; keys with images: {', '.join(kinds)}")
    unused = tuple(sorted(kinds.keys() - set(keys.values())))
    if unused and not keys:
        raise ValueError(no_camera(unused, "observation.images.image_<c>"))
    frames: dict[int, Sequence[bytes | Images]] = {}
    unreadable: dict[int, str] = {}
    for camera, key in sorted(keys.items()):
        try:
            if kinds[key] == "image":
                frames[camera] = _read_pictures(entry, key)
            else:
                part = entry.videos[key]
                frames[camera] = read_frames(part.file, part.begin_s + times_s)
        except ValueError as error:
            unreadable[camera] = str(error)
    if unreadable and not frames:
        raise ValueError(unreadable[min(unreadable)])
    whole, lost = without_vanished(frames, len(states))
    lost = dict(sorted((unreadable | lost).items()))
    return Episode(name, states, actions[:-1], whole, entry.languages, unused, entry.split, lost)


def _read_numbers(file: Path) -> dict[str, AnyArray]:
    """The columns of all rows of a parquet file. ValueError where it cannot be read, or lacks one."""
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        names = parquet.read_schema(file).names
        table = parquet.read_table(file, columns=[key for key in _NUMBERS if key in names])
    except (OSError, arrow.ArrowException) as error:
        raise ValueError(f"not a readable parquet file: {error}{why_unreadable(file)}") from error
    if missing := [key for key in _NUMBERS if key not in names]:
        raise ValueError(f"no columns {', '.join(missing)}; it has {', '.join(names)}")
    columns = {}
    for key in _NUMBERS:
        try:
            columns[key] = np.array(
                table[key].to_pylist(), dtype=np.float32 if key in (_STATE, _ACTION) else np.float64
            )
        except (ValueError, TypeError) as error:
            raise ValueError(f"column {key} holds rows of different sizes, or no numbers: {error}") from error
    return columns


def _read_pictures(entry: EpisodeEntry, key: str) -> list[bytes]:
    """The encoded images that stand in the parquet file itself."""
    parquet, arrow = require("pyarrow.parquet"), require("pyarrow")
    try:
        table: Any = parquet.read_table(entry.data, columns=[key], filters=[("episode_index", "=", entry.index)])
    except (OSError, arrow.ArrowException) as error:
        raise ValueError(f"{key}: {error}") from error
    rows = table[key].to_pylist() if key in table.column_names else []
    return [row["bytes"] or b"" if isinstance(row, dict) and "bytes" in row else b"" for row in rows]
