"""TFRecord shards on disk, their import, and damage to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore

SHARD = "any_name-train.tfrecord-00000-of-00001"


def import_shards(root: Path, out: Path, **options) -> EpisodeStore:
    """The store of the shards at `root`, of 16-pixel images."""
    return import_episodes(open_source(root), out, **{"image_size": 16, "source_name": str(root), **options})


def write_shard(file: Path, records: list[bytes]) -> list[int]:
    """Write framed records; returns the byte at which each starts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(records))
    return np.cumsum([0, *map(len, records)])[:-1].tolist()


def write_info(folder: Path, **shard_lengths: list[int]) -> None:
    """The dataset_info.json that TFDS writes beside its shards."""
    splits = [{"name": name, "shardLengths": list(map(str, lengths))} for name, lengths in shard_lengths.items()]
    (folder / "dataset_info.json").write_text(json.dumps({"splits": splits}))


def flip(file: Path, position: int) -> None:
    """Change one bit of that byte."""
    contents = bytearray(file.read_bytes())
    contents[position] ^= 0x10
    file.write_bytes(contents)


def skips(store: EpisodeStore) -> list[dict]:
    """What the import left out."""
    return store.metadata["skipped"]
