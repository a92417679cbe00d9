"""The parts of an EpisodeStore: which they are, and what is true of all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mqe_core.data.store import layout
from mqe_core.data.store.metadata import check_metadata, damaged, read_head
from mqe_core.files.checks import fields, is_mapping, is_text, list_of, nullable, wrong_keys

MUST_AGREE = ("image_size", "resize_rule", "control_hz", "domain")  # in all parts of one store

_HEAD = {
    "parts": list_of(fields({"folder": is_text, "fingerprint": is_text})),
    "own": nullable(is_mapping),
    "fingerprint": is_text,
}
_COUNTED = ("even_cameras", "unused_cameras", "lost_cameras")

Parts = list[tuple[Path, layout.Metadata]]  # by folder, in the order of their frames


def read_parts(path: Path) -> tuple[layout.Metadata, Parts]:
    """The metadata of the store in folder `path` as a whole, and of each of its parts, checked.

    ValueError, naming file and remedy, where there is no store, or a part is damaged or of another store.
    """
    file, head = path / layout.METADATA_FILE, read_head(path)
    if head["schema"] != layout.SCHEMA_OF_PARTS:
        check_metadata(head, file)
        return head, [(path, head)]
    if wrong := wrong_keys(head, _HEAD):
        raise damaged(file, f"{', '.join(wrong)}: not what stands there in a store")
    parts = [_read_part(path, entry, head["own"]) for entry in head["parts"]]
    if not parts or len({folder for folder, _ in parts}) < len(parts):
        raise damaged(file, "expected one or more parts, each named once")
    if head["fingerprint"] != layout.fingerprint_of_parts([metadata["fingerprint"] for _, metadata in parts]):
        raise damaged(file, "the fingerprint does not fit what it describes")
    for folder, metadata in parts[1:]:
        if why := why_apart(parts[0][1], metadata):
            raise damaged(folder / layout.METADATA_FILE, f"{why} in the store's first part")
    return _joined(path, head["fingerprint"], parts), parts


def why_apart(first: layout.Metadata, other: layout.Metadata) -> str:
    """Why the two are not parts of one store; empty where they may be."""
    return "; ".join(f"{key} is {other[key]}, and {first[key]}" for key in MUST_AGREE if other[key] != first[key])


def _read_part(path: Path, entry: dict[str, str], own: layout.Metadata | None) -> tuple[Path, layout.Metadata]:
    name = entry["folder"]
    file = path / layout.METADATA_FILE
    if name == layout.OWN:
        folder, metadata = path, own
    elif layout.number_of_part(name):
        folder = path / name
        if not folder.is_dir():
            raise damaged(folder, "this part of the store is missing")
        file, metadata = folder / layout.METADATA_FILE, read_head(folder)
    else:
        raise damaged(file, f"{name!r} is no name of a part")
    if metadata is None or metadata.get("schema") not in (layout.SCHEMA_OF_LIST, layout.SCHEMA):
        raise damaged(file, f"expected a part of schema {layout.SCHEMA_OF_LIST} or {layout.SCHEMA}")
    check_metadata(metadata, file)
    if metadata["fingerprint"] != entry["fingerprint"]:
        raise damaged(file, "it is another part than the one that was added")
    return folder, metadata


def _joined(path: Path, fingerprint: str, parts: Parts) -> layout.Metadata:
    """The keys of a store that was written at once, over all parts. What differs from part to part is left out."""
    every = [metadata for _, metadata in parts]
    first = every[0]
    joined: dict[str, Any] = {
        "kind": layout.KIND,
        "schema": layout.SCHEMA_OF_PARTS,
        **{key: first[key] for key in MUST_AGREE},
        "source": ", ".join(dict.fromkeys(metadata["source"] for metadata in every)),
        "format": joined_format([metadata["format"] for metadata in every]),
        "cameras": sorted({camera for metadata in every for camera in metadata["cameras"]}),
        "num_episodes": sum(metadata["num_episodes"] for metadata in every),
        "num_frames": sum(metadata["num_frames"] for metadata in every),
        "skipped": [entry for metadata in every for entry in metadata["skipped"]],
        "files": {
            (folder / name).relative_to(path).as_posix(): entry
            for folder, metadata in parts
            for name, entry in metadata["files"].items()
        },
        "fingerprint": fingerprint,
        "source_files": _source_files(every),
    }
    for key in _COUNTED:
        counts: Counter[str] = Counter()
        for metadata in every:
            counts.update(metadata.get(key, {}))
        joined[key] = dict(counts)
    alike = layout.IMPORT_KEYS - joined.keys()
    return joined | {key: first[key] for key in alike if all(one.get(key) == first.get(key, _NONE) for one in every)}


_NONE = object()


def _source_files(every: Sequence[layout.Metadata]) -> list[dict[str, Any]]:
    """Of each source once: the shards of one import all tell of the same files."""
    of_source = {metadata["source"]: metadata.get("source_files", ()) for metadata in reversed(every)}
    return [group for source in reversed(of_source) for group in of_source[source]]


def joined_format(formats: Sequence[str]) -> str:
    """What a store says of its format that holds episodes of several."""
    return "+".join(sorted({name for format in formats for name in format.split("+")}))
