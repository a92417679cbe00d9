"""A folder that grows beside its place, under another name, and moves there when it is whole."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mqe_core.files.disk import is_mount_point, sync_folder, writing
from mqe_core.files.outputs import check_place, holds_nothing
from mqe_core.files.system_names import is_of_a_system

log = logging.getLogger(__name__)

_ROLE = "partial"


@contextlib.contextmanager
def growing(out: Path) -> Iterator[Path]:
    """The folder `.<name>.partial-…` to write into; where the block ends well it becomes `out`, else it is deleted.

    Nothing that stands at `out` is replaced but an empty folder. ValueError where `out` is the root of a disk, which
    cannot be renamed, or where something has appeared there meanwhile; WriteError where the disk takes no more.
    """
    if out.is_dir() and is_mount_point(out):
        raise ValueError(f"{out} is the root of a disk, and cannot be made in one step; name a folder on it")
    begin = f".{out.name}.{_ROLE}-"
    for left in sorted(out.parent.iterdir()) if out.parent.is_dir() else ():
        if left.name.startswith(begin):
            log.warning("%s: unfinished export; delete it unless that export still runs", left)
    partial = out.parent / f"{begin}{secrets.token_hex(4)}"
    try:
        with writing(out):
            partial.mkdir(parents=True)
            yield partial
            os.sync()  # many small files: once for all of them
            _move(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, out: Path) -> None:
    check_place(out)
    if out.exists():
        if not (out.is_dir() and holds_nothing(out)):
            raise ValueError(f"{out} has appeared during the export; it is left alone, choose another folder")
        for entry in list(out.iterdir()):
            if is_of_a_system(entry.name):
                os.rename(entry, partial / entry.name)
        for folder, _, _ in os.walk(out, topdown=False):
            os.rmdir(folder)
    os.rename(partial, out)
    sync_folder(out.parent)
