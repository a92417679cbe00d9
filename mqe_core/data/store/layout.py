"""What reader and writer of an EpisodeStore agree on: file names, schema, fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mqe_core.files.kinds import STORE, STORE_MARK

Metadata = dict[str, Any]  # what metadata.json holds

KIND = STORE_MARK
SCHEMA = 3
SCHEMA_OF_LIST = 1  # still read: as 3, but its episodes stand in one JSON list
SCHEMA_OF_PARTS = 2  # the metadata of a store that was added to: it names parts, each as a store of schema 1 or 3
METADATA_FILE = "metadata.json"
EPISODES_FILE = "episodes.jsonl"
LINES_FILE = "episode_lines.npy"
EPISODES_LIST = "episodes.json"  # of schema 1
ENDS_FILE = "episode_ends.npy"
STATES_FILE = "states.npy"
ACTIONS_FILE = "actions.npy"
OWN = "."  # the part that is the store's own folder
FEATURES_FOLDER = "features"  # made by training, never by an import: safe to delete
METADATA_KEYS = frozenset(
    ["kind", "schema", "format", "source", "domain", "image_size", "resize_rule", "control_hz", "cameras"]
    + ["num_episodes", "num_frames", "skipped", "files", "fingerprint"]
)

_PART = re.compile(r"part-(\d{4,})")

# What an import notes besides; stores that were merged, or made by other versions, lack these.
IMPORT_KEYS = frozenset(
    ["source_files", "even_cameras", "unused_cameras", "lost_cameras", "conversion", "rules", "jpeg_quality"]
)


def camera_file(camera: int) -> str:
    """The encoded images of one camera, one after the other."""
    return f"camera_{camera}.bin"


def offsets_file(camera: int) -> str:
    """(N+1,) int64 byte offsets into `camera_file`."""
    return f"camera_{camera}_offsets.npy"


def data_files(cameras: list[int], schema: int = SCHEMA) -> set[str]:
    """All files of a store with these cameras, except the metadata."""
    files = {ENDS_FILE, STATES_FILE, ACTIONS_FILE}
    files |= {EPISODES_LIST} if schema == SCHEMA_OF_LIST else {EPISODES_FILE, LINES_FILE}
    for camera in cameras:
        files |= {camera_file(camera), offsets_file(camera)}
    return files


def is_store(path: Path) -> bool:
    """Whether the folder is an EpisodeStore, of whatever schema. An import replaces nothing else."""
    return STORE.stands_at(path)


def part_folder(number: int) -> str:
    """The folder, inside the store's, of what the `number`-th append has added, from 1."""
    return f"part-{number:04d}"


def number_of_part(folder: str) -> int:
    """The number in the name of a part's folder; 0 where it is no such name."""
    match = _PART.fullmatch(folder)
    return int(match[1]) if match else 0


def compute_fingerprint(metadata: Metadata) -> str:
    """Hash (hex) over what the arrays mean and hold. The source's path and what was skipped do not enter."""
    meaning = {key: metadata[key] for key in ("schema", "image_size", "resize_rule", "control_hz", "domain", "cameras")}
    contents = {name: entry["sha256"] for name, entry in metadata["files"].items()}
    return hashlib.sha256(json.dumps([meaning, contents], sort_keys=True).encode()).hexdigest()


def fingerprint_of_parts(fingerprints: Sequence[str]) -> str:
    """Hash (hex) of a store of several parts, from those of the parts in their order."""
    return hashlib.sha256(json.dumps([SCHEMA_OF_PARTS, list(fingerprints)]).encode()).hexdigest()


def metadata_of_parts(fingerprints: Mapping[str, str], own: Metadata | None) -> Metadata:
    """The metadata.json of a store of several parts.

    Args:
        fingerprints: those of the parts by their folders, in the order of their frames.
        own: the metadata of the part whose files lie in the store's own folder, where there is one.
    """
    return {
        "kind": KIND,
        "schema": SCHEMA_OF_PARTS,
        "parts": [{"folder": folder, "fingerprint": fingerprint} for folder, fingerprint in fingerprints.items()],
        "own": own,
        "fingerprint": fingerprint_of_parts(list(fingerprints.values())),
    }
