"""The metadata of a part of an EpisodeStore, read and checked: then every value is what the code takes it for."""

from __future__ import annotations

from pathlib import Path

from mqe_core.data.store import layout
from mqe_core.files.checks import (
    fields,
    is_count,
    is_mapping,
    is_number,
    is_text,
    list_of,
    mapping_of,
    nullable,
    wrong_keys,
)
from mqe_core.files.text import read_json
from mqe_core.policy.domain import DOMAINS

_BLOCKS = fields({"bytes": lambda value: is_count(value) and value != 0, "sha256": list_of(is_text)})
_METADATA = {
    "format": is_text,
    "source": lambda value: isinstance(value, str),
    "domain": lambda value: value in list(DOMAINS),
    "image_size": lambda value: is_count(value) and value != 0,
    "resize_rule": is_text,
    "control_hz": lambda value: is_number(value) and isinstance(value, (int, float)) and value > 0,
    "cameras": lambda value: list_of(is_count)(value) and isinstance(value, list) and len(set(value)) == len(value),
    "num_episodes": is_count,
    "num_frames": is_count,
    "skipped": list_of(
        fields({"name": is_text, "reason": lambda value: isinstance(value, str), "episodes": nullable(is_count)})
    ),
    "files": mapping_of(fields({"bytes": is_count, "sha256": is_text}, {"blocks": _BLOCKS})),
    "fingerprint": is_text,
}
_OF_AN_IMPORT = {
    "source_files": list_of(
        fields(
            {"outcome": is_text, "reason": lambda value: isinstance(value, str), "files": is_count, "first": is_text}
        )
    ),
    "even_cameras": mapping_of(is_count),
    "unused_cameras": mapping_of(is_count),
    "conversion": is_mapping,
    "jpeg_quality": is_count,
}


def read_head(path: Path) -> layout.Metadata:
    """What the metadata.json in folder `path` holds, of a known schema, not yet checked further. ValueError, naming
    file and remedy, where there is no store.
    """
    if not path.is_dir():
        raise ValueError(f"{path} is no folder; expected an EpisodeStore made by `mqe data import SRC --out {path}`")
    file = path / layout.METADATA_FILE
    if not layout.is_store(path):
        raise ValueError(
            f"{path} is no EpisodeStore (it has no readable {file.name}); make one with `mqe data import SRC --out "
            "STORE`"
        )
    head: layout.Metadata = read_json(file)
    if head.get("schema") not in (layout.SCHEMA_OF_LIST, layout.SCHEMA_OF_PARTS, layout.SCHEMA):
        raise ValueError(
            f"{file}: store schema {head.get('schema')!r}, this version reads {layout.SCHEMA_OF_LIST} to "
            f"{layout.SCHEMA}; import the source again"
        )
    return head


def check_metadata(metadata: layout.Metadata, file: Path) -> None:
    """ValueError, naming `file` and remedy, where the metadata of a part is not what it should be."""
    missing = sorted(layout.METADATA_KEYS - metadata.keys())
    if missing:
        raise damaged(file, f"keys missing: {', '.join(missing)}")
    if wrong := wrong_keys(metadata, _METADATA, _OF_AN_IMPORT):
        raise damaged(file, f"{', '.join(wrong)}: not what stands there in a store")
    needed = layout.data_files(metadata["cameras"], metadata["schema"])
    if needed != set(metadata["files"]):
        raise damaged(file, f"lists the files {sorted(metadata['files'])}, expected {sorted(needed)}")
    if metadata["fingerprint"] != layout.compute_fingerprint(metadata):
        raise damaged(file, "the fingerprint does not fit what it describes")


def damaged(file: Path, what: str) -> ValueError:
    """The error that says so, with the remedy."""
    return ValueError(f"{file}: {what}; the store is damaged, import its source again (mqe data import … --force)")
