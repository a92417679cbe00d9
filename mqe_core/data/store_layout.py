"""What reader and writer of an EpisodeStore agree on: file names, schema, fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

KIND = "mqe-episode-store"
SCHEMA = 1
METADATA_FILE = "metadata.json"
EPISODES_FILE = "episodes.json"
ENDS_FILE = "episode_ends.npy"
STATES_FILE = "states.npy"
ACTIONS_FILE = "actions.npy"
FEATURES_FOLDER = "features"  # made by training, and by no import: safe to delete
METADATA_KEYS = frozenset(
    ["kind", "schema", "format", "source", "domain", "image_size", "resize_rule", "control_hz", "cameras"]
    + ["num_episodes", "num_frames", "skipped", "files", "fingerprint"]
)


def camera_file(camera: int) -> str:
    """The encoded images of one camera, one after the other."""
    return f"camera_{camera}.bin"


def offsets_file(camera: int) -> str:
    """(N+1,) int64 byte offsets into `camera_file`."""
    return f"camera_{camera}_offsets.npy"


def data_files(cameras: list[int]) -> set[str]:
    """All files of a store with these cameras, except the metadata."""
    files = {EPISODES_FILE, ENDS_FILE, STATES_FILE, ACTIONS_FILE}
    for camera in cameras:
        files |= {camera_file(camera), offsets_file(camera)}
    return files


def is_store(path: Path) -> bool:
    """Whether the folder is an EpisodeStore of any schema; only such a one may be replaced by an import."""
    try:
        metadata = json.loads((path / METADATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metadata, dict) and metadata.get("kind") == KIND


def compute_fingerprint(metadata: dict) -> str:
    """Hash (hex) over what the arrays mean and hold; source path and skipped episodes do not enter."""
    meaning = {key: metadata[key] for key in ("schema", "image_size", "resize_rule", "control_hz", "domain", "cameras")}
    contents = {name: entry["sha256"] for name, entry in metadata["files"].items()}
    return hashlib.sha256(json.dumps([meaning, contents], sort_keys=True).encode()).hexdigest()
