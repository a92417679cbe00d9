"""A folder that one process at a time works in; whoever comes second hears who that is."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from datetime import datetime
from pathlib import Path

from mqe_core.files.disk import writing

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # of a file system that has none


class FileLock:
    """Holds `file` until `release`, or until this process ends, however it ends. Makes it where it is not there.

    ValueError, naming process, machine and since when, where another process holds it. On a file system without locks
    nobody is refused. WriteError where the disk takes no files.

    Args:
        file: the file that is locked; its contents are who holds it.
        what: what is being worked on, for the error.
    """

    def __init__(self, file: Path, what: Path) -> None:
        self._file = file
        with writing(what):
            self._descriptor = _open_locked(file, what)
            since = datetime.now().isoformat(" ", "seconds")
            holder = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, holder.encode(), 0)

    def remove(self) -> None:
        """Take the file away, and let others in."""
        self._file.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let others in. Twice is the same as once."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_locked(file: Path, what: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise ValueError(f"{what} is being made by {holder}; wait for it, or end it first") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
        if _is_still(file, descriptor):
            return descriptor
        os.close(descriptor)  # whoever held it has finished and taken the file away


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """What the holder wrote; it may not have come to that yet."""
    return os.pread(descriptor, 400, 0).decode("utf-8", "replace") or "another process"
