"""BridgeData in the RLDS layout, as TFDS writes it: one tf.train.Example per episode in TFRecord shards.

What an Example holds is told by its keys, whatever the data set is called: `steps/action` (T, 7),
`steps/observation/state` (T, 7), `steps/observation/image_<c>` (T encoded images), `steps/language_instruction`
(T strings, optional). Records of two other forms are known by their keys as well: see `rlds_oxe` and `bridge_tfrecord`.

All T steps are kept. The action of the last step leads to no step in the data and is dropped. `has_image_<c>` is not
read: it is False throughout the published files.

Where a camera is missing the published files hold filler: one image of one single colour, the same in all steps of the
episode. A camera with such filler, or with empty strings, is absent from that episode.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core import images
from mqe_core.data.episode import STATE_SIZE, Episode, Skipped, without_vanished
from mqe_core.data.readers.bridge_tfrecord import is_bridge_tfrecord, parse_bridge_tfrecord
from mqe_core.data.readers.rlds_oxe import as_flat, is_oxe
from mqe_core.data.readers.tfrecord import BrokenShardError, parse_example, read_records
from mqe_core.data.readers.transitions import folder_split
from mqe_core.data.source import EpisodeTask, natural_key, no_camera
from mqe_core.data.source_files import Walk, below, same_files, why_of_no_format
from mqe_core.data.units import seven_columns
from mqe_core.files.text import read_json
from mqe_core.policy.domain import REAL
from mqe_core.robot.arrays import Float32s

log = logging.getLogger(__name__)

_SHARD = re.compile(r".*\.tfrecords?(-\d+-of-\d+)?")
_TFDS_SHARD = re.compile(r"(?P<stem>.+-(?P<split>[^-]+)\.tfrecord)-(?P<index>\d+)-of-(?P<count>\d+)")
# Keys of which an episode has one value a step, so that their number is the number of steps.
_ONE_A_STEP = tuple(
    f"steps/{name}" for name in ("is_first", "is_last", "is_terminal", "reward", "discount", "language_instruction")
)
_OBSERVATION = "steps/observation/"
_DLIMP = {"obs/state", "actions"}
_GZIP = b"\x1f\x8b"
_IMAGE_KEY = re.compile(r"steps/observation/image_(\d+)")


class RldsSource:
    """All TFRecord shards at or below `root` (a folder, or one shard)."""

    format = "rlds"

    def __init__(self, root: Path, cameras: Sequence[str] = ()) -> None:
        """`cameras`: keys of the record that hold the images of camera 0, 1 …, in place of `image_<c>`."""
        self.root = root
        self._cameras = tuple(cameras)
        walk = Walk(root)
        found = sorted(
            (path for path in walk.files() if _SHARD.fullmatch(path.name)),
            key=lambda path: natural_key(path.as_posix()),
        )
        self._copies = same_files(found)
        self._present = dict.fromkeys(found)
        self._shards = [shard for shard in found if shard not in self._copies]

    def is_empty(self) -> bool:
        return not self._shards

    def num_episodes(self) -> int | None:
        total = 0
        for shard in self._shards:
            expected = _expected_records(shard)
            if expected is None:
                return None
            total += expected
        return total

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        sizes = [shard.stat().st_size for shard in self._shards]
        for number, shard in enumerate(self._shards):
            yield from self._shard_tasks(shard, sum(sizes[:number]), sum(sizes))
        if self.root.is_dir():
            yield from _missing_shards(list(self._present))
        for shard, first in self._copies.items():
            yield Skipped(below(self.root, shard), f"the same bytes as {below(self.root, first)}", 0)

    def why_not_read(self, file: Path) -> str | None:
        if file in self._copies:
            return "the same bytes as a file that was read"
        if file in self._present:
            return None if file.stat().st_size else why_of_no_format(file, self.format)
        is_about = file.name in ("dataset_info.json", "features.json")
        return "about the data set" if is_about else why_of_no_format(file, self.format)

    def domain(self) -> str:
        return REAL

    def _shard_tasks(self, shard: Path, begin_bytes: int, all_bytes: int) -> Iterator[EpisodeTask | Skipped]:
        shard_name = below(self.root, shard)
        expected = _expected_records(shard)
        with shard.open("rb") as stream:
            begin = stream.read(2)
        if begin in (b"", _GZIP):
            why = "packed by gzip: unpack it, and import again" if begin else "empty: 0 bytes"
            yield Skipped(shard_name, why, expected)
            return
        match = _TFDS_SHARD.fullmatch(shard.name)
        split = match["split"] if match else folder_split(shard)
        index, gone_through = 0, begin_bytes
        try:
            for data in read_records(shard):
                name = f"{shard_name}#{index}"
                index += 1
                gone_through += len(data or b"")
                if data is None:
                    yield Skipped(name, "the record's data does not fit its checksum")
                else:
                    load = partial(parse_episode, data, name, self._cameras, split)
                    yield EpisodeTask(name, load, gone_through / all_bytes)
        except (BrokenShardError, OSError) as error:
            lost = None if expected is None else max(expected - index, 0)
            yield Skipped(f"{shard_name}#{index} and all after it in this shard", str(error), lost)
            return
        if expected is not None and index != expected:
            reason = f"the shard ends after {index} records, dataset_info.json says {expected}"
            yield Skipped(f"{shard_name}#{index} and all after it in this shard", reason, max(expected - index, 0))


def parse_episode(data: bytes, name: str, cameras: Sequence[str] = (), split: str = "") -> Episode:
    """One serialized Example, of whichever form its keys tell, as an Episode; `cameras` as for RldsSource.

    ValueError where it is none, or where a needed key is missing or has the wrong size, or where none of its images
    stand under a key that is asked for.
    """
    features = parse_example(data)
    if is_bridge_tfrecord(features):
        return parse_bridge_tfrecord(features, name, cameras, split)
    if _DLIMP <= features.keys():
        raise ValueError("a record of dlimp's converter (obs/…), which is not read: import the raw tree it was made of")
    if is_oxe(features):
        features = as_flat(features)
    steps = _steps_and_key(features)
    states = _matrix(features, "steps/observation/state", steps)
    actions = _matrix(features, "steps/action", steps)
    keys = _camera_keys(features, cameras)
    shown = {camera: features[key] for camera, key in keys.items() if not _is_filler(features[key])}
    frames, lost = without_vanished(shown, len(states))
    unused = tuple(key.removeprefix(_OBSERVATION) for key in _image_keys(features) if key not in keys.values())
    if unused and not keys:
        raise ValueError(no_camera(unused, "image_<c>"))
    instructions = (
        text.decode("utf-8", errors="replace").strip() for text in features.get("steps/language_instruction", [])
    )
    languages = tuple(dict.fromkeys(text for text in instructions if text))
    return Episode(name, states, actions[:-1], frames, languages, unused, split, lost)


def _camera_keys(features: dict[str, list[Any]], asked: Sequence[str]) -> dict[int, str]:
    """By camera the key of its images. ValueError where one that is asked for is not there."""
    if not asked:
        return {int(match[1]): key for key in features if (match := _IMAGE_KEY.fullmatch(key))}
    keys = {c: next((k for k in (_OBSERVATION + name, name) if k in features), "") for c, name in enumerate(asked)}
    if missing := [asked[camera] for camera, key in keys.items() if not key]:
        there = ", ".join(key.removeprefix(_OBSERVATION) for key in _image_keys(features)) or "none"
        raise ValueError(f"no images under --camera {', '.join(missing)}; keys with images: {there}")
    return keys


def _image_keys(features: dict[str, list[Any]]) -> list[str]:
    """The keys whose values are JPEG or PNG files."""
    firsts = {key: values[0] for key, values in features.items() if values and isinstance(values[0], bytes)}
    return sorted(key for key, first in firsts.items() if first.startswith((b"\xff\xd8\xff", b"\x89PNG")))


def _steps_and_key(features: dict[str, list[Any]]) -> tuple[str, int]:
    """A key that holds one value a step, and T. ValueError where there is none, or they disagree."""
    counts = {key: len(features[key]) for key in _ONE_A_STEP if features.get(key)}
    counts = counts or {key: len(frames) for key, frames in features.items() if _IMAGE_KEY.fullmatch(key) and frames}
    if not counts:
        raise ValueError(f"how many steps it has stands nowhere; expected one of {', '.join(_ONE_A_STEP)}")
    if len(set(counts.values())) > 1:
        raise ValueError(f"its keys have different numbers of steps: {counts}")
    return next(iter(counts.items()))


def _matrix(features: dict[str, list[Any]], key: str, steps: tuple[str, int]) -> Float32s:
    """(T, 7). Only the number of steps tells how wide a row is."""
    if key not in features:
        raise ValueError(f"no key {key}; the record has {', '.join(sorted(features)) or 'none'}")
    values = features[key]
    told_by, num_steps = steps
    if values and isinstance(values[0], (float, int)) and len(values) % num_steps and len(values) % STATE_SIZE == 0:
        raise ValueError(f"{key} has {len(values) // STATE_SIZE} steps, {told_by} {num_steps}")
    if not values or not isinstance(values[0], (float, int)) or len(values) % num_steps:
        raise ValueError(
            f"expected {key} to hold rows of {STATE_SIZE} numbers, got {len(values)} values for {num_steps} steps"
        )
    rows: Float32s = seven_columns(np.array(values, dtype=np.float32).reshape(num_steps, -1), key)
    return rows


def _is_filler(frames: list[bytes]) -> bool:
    if not frames or len(set(frames)) > 1:
        return False
    if frames[0] == b"":
        return True
    try:
        pixels = images.decode(frames[0])
    except ValueError:
        return False  # damaged, not filler: told when the episode is encoded
    return bool((pixels == pixels[0, 0]).all())


def _expected_records(shard: Path) -> int | None:
    """The number of records that the dataset_info.json beside the shard states.

    None where there is no such file, or it does not cover the shard.
    """
    match = _TFDS_SHARD.fullmatch(shard.name)
    file = shard.parent / "dataset_info.json"
    if not match or not file.is_file():
        return None
    try:
        splits = {split["name"]: split["shardLengths"] for split in read_json(file)["splits"]}
        lengths = splits[match["split"]]
        if len(lengths) != int(match["count"]):
            raise ValueError(f"it states {len(lengths)} shards")
        return int(lengths[int(match["index"])])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        log.debug("%s does not tell how many records %s has: %r", file, shard.name, error)
        return None


def _missing_shards(shards: list[Path]) -> Iterator[Skipped]:
    present: dict[tuple[Path, str, int], set[int]] = {}
    for shard in shards:
        if match := _TFDS_SHARD.fullmatch(shard.name):
            present.setdefault((shard.parent, match["stem"], int(match["count"])), set()).add(int(match["index"]))
    for (_, stem, count), indices in present.items():
        missing = [index for index in range(count) if index not in indices]
        if missing:
            yield Skipped(stem, f"{len(missing)} of {count} shards are not there, first number {missing[0]}", None)
