"""Where a LeRobot data set of codebase v2.x or v3.x has its episodes, rows and videos; nothing of `lerobot` is needed.

meta/info.json      codebase_version, fps, features, data_path, video_path, splits
meta/episodes…      v3: parquet files; v2: episodes.jsonl
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqe_core.data.readers.video import require
from mqe_core.files.bounded import shown
from mqe_core.files.checks import is_count, is_mapping, is_number, is_text, mapping_of, nullable, wrong_keys
from mqe_core.files.text import read_json, read_json_lines

INFO = Path("meta") / "info.json"
NO_TASK = "no label"  # what stands for a missing one


_JOINT = re.compile(r"joint|waist|shoulder|elbow|forearm|wrist")
_QUATERNION = re.compile(r"(.*[_.])?(qx|qy|qz|qw|quat.*)")
_PREFIX = re.compile(r"^(.*[_.])?(delta_?)?")
_PLACES = {"x": 0, "y": 1, "z": 2, "roll": 3, "pitch": 4, "yaw": 5, "gripper": 7}

_INFO = {
    "fps": lambda value: is_number(value) and isinstance(value, (int, float)) and value > 0,
    "features": mapping_of(is_mapping),
    "data_path": is_text,
}
_OF_INFO = {
    "video_path": nullable(is_text),
    "chunks_size": lambda value: is_count(value) and value != 0,
    "splits": is_mapping,
}


@dataclass(frozen=True)
class VideoPart:
    """Where an episode lies in a video file."""

    file: Path
    begin_s: float


@dataclass(frozen=True)
class EpisodeEntry:
    """What the data set says of one episode."""

    index: int
    length: int
    languages: tuple[str, ...]
    split: str
    data: Path
    videos: dict[str, VideoPart]  # by key of the feature


@dataclass(frozen=True)
class LeRobotLayout:
    """One data set: its folder, its description, and all its episodes in order."""

    root: Path
    info: dict[str, Any]
    episodes: tuple[EpisodeEntry, ...]

    @property
    def fps(self) -> float:
        """Rows per second."""
        return float(self.info["fps"])

    def image_keys(self) -> dict[str, str]:
        """Feature → `video` or `image`."""
        kinds = {key: str(feature.get("dtype")) for key, feature in self.info["features"].items()}
        return {key: kind for key, kind in kinds.items() if kind in ("video", "image")}


def is_lerobot(root: Path) -> bool:
    """Whether the folder is a LeRobot data set, of whatever version, or one whose description is damaged."""
    if not (root / INFO).is_file():
        return False
    with contextlib.suppress(OSError, ValueError, TypeError):
        if "codebase_version" in read_json(root / INFO):
            return True
    return (root / "data").is_dir() and any((root / INFO).parent.glob("episodes*"))


def read_layout(root: Path) -> LeRobotLayout:
    """ValueError, saying what is wrong or to be done, where its description cannot be used."""
    try:
        info = read_json(root / INFO)
    except (OSError, ValueError) as error:
        raise ValueError(f"a LeRobot data set whose description is damaged: {error}") from error
    version = str(info.get("codebase_version")) if isinstance(info, dict) else "unknown"
    if not version.startswith(("v2.", "v3.")):
        raise ValueError(
            f"{root}: a LeRobot data set of codebase {version}; v2.x and v3.x are read: convert it with lerobot's own "
            "converters (lerobot.datasets)"
        )
    if wrong := wrong_keys(info, _INFO, _OF_INFO):
        shown_values = ", ".join(f"{key} is {shown(info.get(key))}" for key in wrong)
        raise ValueError(f"{root / INFO} does not describe a LeRobot data set: {shown_values}")
    for key in ("observation.state", "action"):
        if why := why_other_columns(info["features"].get(key, {}).get("names")):
            raise ValueError(f"{root / INFO}: {key} has {why}")
    if version.startswith("v3."):
        require("pyarrow.parquet")
    try:
        rows = _rows_v3(root) if version.startswith("v3.") else _rows_v2(root)
        entries = [_entry(root, info, row, version.startswith("v3.")) for row in rows]
    except (KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise ValueError(f"{root / 'meta'} does not describe a LeRobot data set: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{root / 'meta'} does not describe a LeRobot data set: {error}") from error
    return LeRobotLayout(root, info, tuple(sorted(entries, key=lambda entry: entry.index)))


def why_other_columns(names: object) -> str:
    """Why columns of these names are not a store's x, y, z, roll, pitch, yaw, gripper; empty where they may be.

    `names` is what info.json has: a list, a mapping of one list, or nothing. Names that say nothing (motor_0, R, g) are
    let pass: the numbers are judged as well.
    """
    if isinstance(names, dict) and len(names) == 1:
        (names,) = names.values()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ""
    said = ", ".join(names)
    if any(_JOINT.search(name.lower()) for name in names):
        return f"the columns {shown(said)}: joints, where the pose of the hand is expected; convert them"
    if any(_QUATERNION.fullmatch(name.lower()) for name in names):
        return f"the columns {shown(said)}: a quaternion, where roll, pitch and yaw are expected; convert it"
    words = [_PREFIX.sub("", name.lower()) for name in names]
    places = [_PLACES[word] for word in words if word in _PLACES and words.count(word) == 1]  # Y may be yaw
    if places != sorted(places):
        return f"the columns {shown(said)}: another order than x, y, z, roll, pitch, yaw, gripper; put them in that"
    return ""


def _rows_v3(root: Path) -> list[dict[str, Any]]:
    parquet = require("pyarrow.parquet")
    rows: list[dict[str, Any]] = []
    for file in sorted((root / "meta" / "episodes").rglob("*.parquet")):
        try:
            names = [name for name in parquet.read_schema(file).names if not name.startswith("stats/")]
            rows += parquet.read_table(file, columns=names).to_pylist()
        except (OSError, require("pyarrow").ArrowException) as error:
            raise ValueError(f"{file}: not readable: {error}") from error
    return rows


def _rows_v2(root: Path) -> list[dict[str, Any]]:
    return read_json_lines(root / "meta" / "episodes.jsonl")


def _entry(root: Path, info: dict[str, Any], row: dict[str, Any], is_v3: bool) -> EpisodeEntry:
    index = int(row["episode_index"])
    chunk = index // info.get("chunks_size", 1000)

    def place(template: str, prefix: str, key: str = "") -> Path:
        numbers = {"episode_chunk": chunk, "episode_index": index, "video_key": key}
        if is_v3:
            numbers |= {"chunk_index": row[f"{prefix}/chunk_index"], "file_index": row[f"{prefix}/file_index"]}
        path = root / template.format(**numbers)
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{path} lies outside the data set")
        return path

    videos = {
        key: VideoPart(
            place(info["video_path"], f"videos/{key}", key),
            float(row[f"videos/{key}/from_timestamp"]) if is_v3 else 0.0,
        )
        for key, feature in info["features"].items()
        if feature.get("dtype") == "video"
    }
    split = ""
    for name, span in info.get("splits", {}).items():
        first, _, end = str(span).partition(":")
        if first.isdecimal() and end.isdecimal() and int(first) <= index < int(end):
            split = str(name)
    languages = tuple(str(text) for text in row.get("tasks") or () if str(text) not in ("", NO_TASK))
    return EpisodeEntry(index, int(row["length"]), languages, split, place(info["data_path"], "data"), videos)
