"""Writing to a disk that may be full, read-only or of an odd kind: errors name the file, and no half file stays."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_PROBE = ".mqe-probe-"
_PROBE_BYTES = 65536  # a disk that is full still makes folders and empty files
# What a file system answers that has no way to flush a file or folder. Anything else says that data may be lost.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR)
_MOUNTS = Path("/proc/self/mountinfo")


class WriteError(OSError):
    """Something could not be written. The text names the file, the reason and the remedy."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk in this block become a WriteError that names `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}; {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or choose another place"
    return "choose a shorter name" if error.errno == errno.ENAMETOOLONG else "choose another place"


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write beside `path` and rename over it, so that a crash leaves the old file or the new one.

    WriteError, leaving the old file, where the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                sync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_new(path: Path, content: bytes) -> None:
    """Write a file of a folder that is still being made. WriteError, leaving none, where the disk does not take it."""
    with writing(path):
        try:
            path.write_bytes(content)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def require_space(out: Path, needed_bytes: int = 0) -> None:
    """WriteError where nothing can be written and renamed at `out`, or where less than `needed_bytes` are free."""
    there = _existing(out)
    probe = there / f"{_PROBE}{secrets.token_hex(4)}"
    renamed = probe.with_suffix(".renamed")
    try:
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
            probe.replace(renamed)
        finally:
            for path in (probe, renamed):
                path.unlink(missing_ok=True)
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise WriteError(
            f"{out} cannot be made, as {there} takes no files: {error.strerror or error}; {_remedy(error)}"
        ) from error
    if free < needed_bytes:
        raise WriteError(
            f"{out} takes {needed_bytes / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free at {there}; free some space, "
            "or choose another place"
        )


def is_probe(name: str) -> bool:
    """Whether a file of this name is what `require_space` leaves where it is killed."""
    return name.startswith(_PROBE)


def free_bytes(out: Path) -> tuple[int, Path]:
    """How much room `out` has, and the folder that exists, at or above it. WriteError where that cannot be told."""
    there = _existing(out)
    with writing(out):
        return shutil.disk_usage(there).free, there


def _existing(out: Path) -> Path:
    while not out.is_dir():
        out = out.parent
    return out


def sync(descriptor: int) -> None:
    """Flush a file or folder to the disk. A file system that cannot flush it is no error; one that lost data is."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where it can be opened for that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def is_mount_point(folder: Path) -> bool:
    """Whether another file system, or another part of this one, begins at the folder. It cannot be renamed."""
    real = os.path.realpath(folder)
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return os.path.ismount(real)
    return os.path.ismount(real) or any(_unescaped(line.split(" ")[4]) == real for line in lines)


def _unescaped(name: str) -> str:
    """A name as the kernel lists it, with blanks as they are."""
    for code in ("040", "011", "012", "134"):
        name = name.replace(f"\\{code}", chr(int(code, 8)))
    return name
