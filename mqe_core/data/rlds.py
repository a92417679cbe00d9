"""BridgeData in the RLDS layout, as TFDS writes it: one tf.train.Example per episode in TFRecord shards.

What an Example holds is told by its keys, whatever the data set is called: `steps/action` (T, 7),
`steps/observation/state` (T, 7), `steps/observation/image_<c>` (T encoded images),
`steps/language_instruction` (T strings, optional). All T steps are kept; the action of the last step leads to
no step in the data and is dropped. `has_image_<c>` is not read: it is False throughout the published files.

Where a camera is missing the published files hold filler: one image of one single colour, the same in all
steps of the episode. A camera that shows this (or empty strings) is absent from that episode.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.episode import ACTION_SIZE, STATE_SIZE, Episode, Skipped
from mqe_core.data.source import EpisodeTask, natural_key
from mqe_core.data.tfrecord import BrokenShardError, parse_example, read_records

log = logging.getLogger(__name__)

_SHARD = re.compile(r".*\.tfrecords?(-\d+-of-\d+)?")
_TFDS_SHARD = re.compile(r"(?P<stem>.+-(?P<split>[^-]+)\.tfrecord)-(?P<index>\d+)-of-(?P<count>\d+)")
_IMAGE_KEY = re.compile(r"steps/observation/image_(\d+)")


class RldsSource:
    """All TFRecord shards at or below `root` (a folder, or one shard)."""

    format = "rlds"

    def __init__(self, root: Path) -> None:
        self.root = root
        found = [root] if root.is_file() else root.rglob("*.tfrecord*")
        self._shards = sorted(
            (path for path in found if path.is_file() and _SHARD.fullmatch(path.name)),
            key=lambda path: natural_key(path.as_posix()),
        )

    def is_empty(self) -> bool:
        return not self._shards

    def num_episodes(self) -> int | None:
        expected = [_expected_records(shard) for shard in self._shards]
        return None if None in expected else sum(expected)

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        for shard in self._shards:
            yield from self._shard_tasks(shard)
        if self.root.is_dir():
            yield from _missing_shards(self._shards)

    def domain(self) -> str:
        return "real"

    def _shard_tasks(self, shard: Path) -> Iterator[EpisodeTask | Skipped]:
        shard_name = shard.relative_to(self.root).as_posix() if shard != self.root else shard.name
        expected = _expected_records(shard)
        index = 0
        try:
            for data in read_records(shard):
                name = f"{shard_name}#{index}"
                index += 1
                if data is None:
                    yield Skipped(name, "the record's data does not fit its checksum")
                else:
                    yield EpisodeTask(name, partial(parse_episode, data, name))
        except (BrokenShardError, OSError) as error:
            lost = None if expected is None else max(expected - index, 0)
            yield Skipped(f"{shard_name}#{index} and all after it in this shard", str(error), lost)
            return
        if expected is not None and index != expected:
            reason = f"the shard ends after {index} records, dataset_info.json says {expected}"
            yield Skipped(f"{shard_name}#{index} and all after it in this shard", reason, max(expected - index, 0))


def parse_episode(data: bytes, name: str) -> Episode:
    """One serialized Example as an Episode.

    Raises ValueError where it is none, or a needed key is missing or has the wrong size.
    """
    features = parse_example(data)
    states = _matrix(features, "steps/observation/state", STATE_SIZE)
    actions = _matrix(features, "steps/action", ACTION_SIZE)
    if len(actions) != len(states):
        raise ValueError(f"steps/action has {len(actions)} steps, steps/observation/state {len(states)}")
    cameras = {}
    for key, frames in features.items():
        match = _IMAGE_KEY.fullmatch(key)
        if match and not _is_filler(frames):
            cameras[int(match[1])] = frames
    instructions = (
        text.decode("utf-8", errors="replace").strip() for text in features.get("steps/language_instruction", [])
    )
    return Episode(name, states, actions[:-1], cameras, tuple(dict.fromkeys(text for text in instructions if text)))


def _matrix(features: dict[str, list], key: str, width: int) -> np.ndarray:
    if key not in features:
        raise ValueError(f"no key {key}; the record has {', '.join(sorted(features)) or 'none'}")
    values = features[key]
    if not values or len(values) % width or not isinstance(values[0], (float, int)):
        raise ValueError(f"expected {key} to hold rows of {width} numbers, got {len(values)} values")
    return np.array(values, dtype=np.float32).reshape(-1, width)


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
    """The number of records that the dataset_info.json beside the shard states;

    None where there is none, or it does not cover the shard.
    """
    match = _TFDS_SHARD.fullmatch(shard.name)
    file = shard.parent / "dataset_info.json"
    if not match or not file.is_file():
        return None
    try:
        splits = {
            split["name"]: split["shardLengths"] for split in json.loads(file.read_text(encoding="utf-8"))["splits"]
        }
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
