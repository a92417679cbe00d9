"""Several stores become one, without decoding or copying an image: the files of each become a part of the new store."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from mqe_core.data.store import layout
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.files import json_bytes, write_file
from mqe_core.data.store.parts import MUST_AGREE, Parts, read_parts
from mqe_core.data.store.place import StorePlace, check_store_target
from mqe_core.files.disk import sync, sync_folder, writing
from mqe_core.files.progress import Progress


def merge_stores(
    stores: Sequence[EpisodeStore], out: str | Path, *, overwrite: bool = False, progress: bool = False
) -> EpisodeStore:
    """Make a store at `out` that holds the episodes of `stores`, in this order; it names what each had skipped.

    Their files are linked (`os.link`): the new store takes no room, and stays whole where the old ones are deleted. On
    another disk, or one without links, they are copied.

    ValueError, before anything is written, where they differ in image size, resize rule, rate or domain, where two
    hold an episode of the same name, or where `out` is one of them. WriteError where there is no room for copies.
    """
    if not stores:
        raise ValueError("nothing to merge")
    out = Path(out)
    parts = [part for store in stores for part in read_parts(store.path)[1]]
    check_store_target(
        out,
        reads=[store.path for store in stores],
        force=overwrite,
        needed_bytes=sum(entry["bytes"] for _, metadata in parts for entry in metadata["files"].values())
        if not _can_link(parts, out)
        else 0,
    )
    _check_alike(stores)
    place = StorePlace(out.resolve(), overwrite=overwrite)
    try:
        with writing(out):
            fingerprints = _write_parts(parts, place.folder, progress)
            head = layout.metadata_of_parts(fingerprints, own=None)
            write_file(place.folder / layout.METADATA_FILE, json_bytes(head))
            sync_folder(place.folder)
            place.move_into_place()
    except BaseException:
        place.discard()
        raise
    return EpisodeStore.open(out)


def _check_alike(stores: Sequence[EpisodeStore]) -> None:
    first = stores[0].metadata
    for store in stores[1:]:
        for key in MUST_AGREE:
            if store.metadata[key] != first[key]:
                raise ValueError(
                    f"{store.path} has {key} {store.metadata[key]}, {stores[0].path} has {first[key]}: import "
                    "both alike before they are merged"
                )
    of_name: dict[str, EpisodeStore] = {}
    for store in stores:
        for name in store.names:
            if name in of_name:
                raise ValueError(
                    f"{of_name[name].path} and {store.path} both hold an episode {name!r}: where they are two, "
                    "import from a folder above, so that their names differ"
                )
            of_name[name] = store


def _write_parts(parts: Parts, folder: Path, progress: bool) -> dict[str, str]:
    """The parts in folders of their own, and their fingerprints by the folders' names."""
    fingerprints = {}
    for number, (source, metadata) in enumerate(Progress(parts, unit="part", desc="merging", disable=not progress), 1):
        part = folder / layout.part_folder(number)
        part.mkdir()
        for name in metadata["files"]:
            _link_or_copy(source / name, part / name)
        write_file(part / layout.METADATA_FILE, json_bytes(metadata))
        sync_folder(part)
        fingerprints[part.name] = metadata["fingerprint"]
    return fingerprints


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
        with open(target, "rb") as stream:
            sync(stream.fileno())


def _can_link(parts: Parts, out: Path) -> bool:
    """Whether the files can be linked to where the store is to grow, tried with one of each part."""
    there = out if out.is_dir() and not layout.is_store(out) else out.absolute().parent
    while not there.is_dir():
        there = there.parent
    probe = there / f".mqe-probe-{secrets.token_hex(4)}"
    try:
        for folder, metadata in parts:
            os.link((folder / min(metadata["files"])).resolve(), probe)
            probe.unlink()
    except OSError:
        return False
    return True
