"""StorePlace: the folder that a store grows in, and its way to where the store shall be."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from mqe_core.data.store import layout
from mqe_core.files.disk import is_mount_point, require_space, sync_folder, writing
from mqe_core.files.kinds import STORE, STORE_BEGUN, entries_in
from mqe_core.files.lock import FileLock
from mqe_core.files.outputs import check_folder

log = logging.getLogger(__name__)

LOCK_FILE = "lock"
APPEND_LOCK = "append.lock"  # in a store, while it is added to
JOURNAL_FILE = "journal.jsonl"
NUMBERS_FILE = "numbers.bin"
_OF_THE_IMPORT = (LOCK_FILE, JOURNAL_FILE, NUMBERS_FILE)  # beside the store's files while it grows

_INSIDE = ".partial-"  # begins the name of the folder that a store grows in, inside an empty one
_KEPT = "0"  # ends the name of one that is gone on with; others end with 8 random digits
_AT_REST_S = 600.0  # nothing written for so long: nobody works there any more


class StorePlace:
    """A store at `path` grows in `folder`, beside its place or, where an empty folder stands there, inside that.

    With `restartable`, the folder is locked, has a name that does not change, and stays until `tidy` or `discard`, so
    that the next run finds it. ValueError where another process works in it.

    ValueError or WriteError, before anything is written, where the store cannot be made there (`check_store_target`).
    With `part`, it becomes a part of a store: `path` is a new folder in that.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        restartable: bool = False,
        part: bool = False,
        expected_bytes: int = 0,
    ) -> None:
        self.path = path
        self._overwrite = overwrite
        self._part = part
        self._restartable = restartable
        self._in_place = not part and path.is_dir() and not layout.is_store(path)
        was_whole = part and path.is_dir()  # and killed before the store knew of it
        if not was_whole:
            self._check(expected_bytes)
        self._moved: list[Path] = []  # what is in place of the store, before all is
        self._lock: FileLock | None = None
        with writing(path):
            if self._in_place and not restartable:
                self._clear()
            path.parent.mkdir(parents=True, exist_ok=True)
            name = _KEPT if restartable else secrets.token_hex(4)
            self.folder = path / f"{_INSIDE}{name}" if self._in_place else self._sibling("partial", name)
            if was_whole:
                os.rename(path, self.folder)
            self.folder.mkdir(exist_ok=restartable)
            if restartable:
                self._lock = FileLock(self.folder / LOCK_FILE, path)
                self._take_back()
            self._look_at_leftovers()

    def move_into_place(self) -> None:
        """The folder becomes the store, in one step."""
        if self._in_place:
            self._move_up()
            return
        self._check()
        old = None
        if self.path.exists():
            FileLock(self.path / APPEND_LOCK, self.path).remove()  # what is being added to it would be lost
            old = self._sibling("replaced", secrets.token_hex(4))
            os.rename(self.path, old)
        try:
            os.rename(self.folder, self.path)
        except OSError:
            if old is not None:
                os.rename(old, self.path)
            raise
        sync_folder(self.path.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def tidy(self) -> None:
        """Take away what only the import needed, once the store is in its place."""
        for folder in (self.folder, self.path):
            for name in _OF_THE_IMPORT if folder.is_dir() else ():
                (folder / name).unlink(missing_ok=True)
        if self.folder.is_dir():
            self.folder.rmdir()
        self.release()

    def discard(self) -> None:
        """Take away what was written so far."""
        for moved in self._moved:
            shutil.rmtree(moved) if moved.is_dir() else moved.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the folder as it is, to the next run."""
        if self._lock is not None:
            self._lock.release()

    def _check(self, needed_bytes: int = 0) -> None:
        if self._part:
            if self.path.exists():
                raise ValueError(f"{self.path} has appeared during the import; it is left alone")
            require_space(self.path, needed_bytes)
            return
        check_store_target(self.path, force=self._overwrite, needed_bytes=needed_bytes, restartable=self._restartable)

    def _sibling(self, role: str, name: str) -> Path:
        """Beside the store, in the same file system: `.<its name>.<role>-<name>`."""
        return self.path.parent / f".{self.path.name}.{role}-{name}"

    def _clear(self) -> None:
        """Delete what an import left that was killed in this folder."""
        if STORE_BEGUN.stands_at(self.path):
            for entry in entries_in(self.path):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _take_back(self) -> None:
        """Into the growing folder go again the files that were moved up when an import was killed."""
        if self._in_place and STORE_BEGUN.stands_at(self.path):
            for file in filter(Path.is_file, entries_in(self.path)):
                os.replace(file, self.folder / file.name)

    def _move_up(self) -> None:
        """Out of the folder inside the store's own; a file that came there meanwhile is not replaced."""
        names = sorted({file.name for file in self.folder.iterdir()} - set(_OF_THE_IMPORT))
        for name in sorted(names, key=lambda name: name == layout.METADATA_FILE):
            if (self.path / name).exists():
                raise ValueError(f"{self.path / name} has appeared during the import; it is left alone")
            os.rename(self.folder / name, self.path / name)
            self._moved.append(self.path / name)
        self._moved.clear()
        sync_folder(self.path)
        if not self._restartable:
            self.folder.rmdir()

    def _look_at_leftovers(self) -> None:
        path = self.path
        for entry in sorted([*path.parent.iterdir(), *(path.glob(f"{_INSIDE}*") if path.is_dir() else ())]):
            if entry.name.startswith((f".{path.name}.partial-", _INSIDE)) and entry != self.folder:
                if self._restartable and _is_at_rest(entry):
                    log.warning(
                        "%s: removed, an unfinished import of an earlier version that nothing can go on with", entry
                    )
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    log.warning("%s: unfinished import; delete it unless that import still runs", entry)
            elif entry.name.startswith(f".{path.name}.replaced-"):
                log.warning(
                    "%s: the store that an interrupted --force was about to replace; rename or delete it", entry
                )


def _is_at_rest(folder: Path) -> bool:
    if (folder / LOCK_FILE).exists():
        return False
    newest = max(entry.stat().st_mtime for entry in (folder, *folder.iterdir()))
    return time.time() - newest > _AT_REST_S


def check_store_target(
    out: Path,
    *,
    reads: Iterable[Path] = (),
    force: bool = False,
    needed_bytes: int = 0,
    restartable: bool = False,
) -> None:
    """ValueError or WriteError where no store can be made at `out`, as `check_folder`: with `force` in place of one,
    and where it is `restartable` in a folder in which it was begun.
    """
    check_folder(
        out,
        STORE,
        reads=reads,
        continues=(STORE_BEGUN,) if restartable else (),
        replaces=(STORE, STORE_BEGUN),
        force=force,
        needed_bytes=needed_bytes,
        remedy="choose another path",
    )
    if layout.is_store(out) and is_mount_point(out):
        raise ValueError(
            f"{out} is the root of a disk, so the store on it cannot be replaced in one step; delete its files first, "
            "or choose a folder on that disk"
        )
