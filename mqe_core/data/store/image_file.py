"""ImageFile: the encoded images of one camera, read from the disk where they are asked for."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

import numpy as np

from mqe_core.data.store.metadata import damaged
from mqe_core.robot.arrays import Ints


class ImageFile:
    """Reads frames at `offsets` (N+1,) of the file at `path`, which it opens at the first one.

    A read is of the bytes that are asked for and no more: a mapped file would read ahead, a hundred times as much, and
    let every thread of the program wait for the disk.
    """

    def __init__(self, path: Path, offsets: Ints) -> None:
        self._path, self._offsets = path, offsets
        self._file: int | None = None
        self._held = memoryview(b"")

    @property
    def path(self) -> Path:
        """Of the file."""
        return self._path

    def hold(self, first_bytes: memoryview) -> None:
        """From now on take what lies in the file's `first_bytes` from there."""
        self._held = first_bytes

    def read(self, frames: Ints) -> list[bytes]:
        """The frames (n,), with no bytes where there is none. Neighbours that follow each other are read at once.

        ValueError, naming file and remedy, where the file became shorter.
        """
        if not len(frames):
            return []
        first, last = self._offsets[frames], self._offsets[frames + 1]
        runs = np.concatenate([[0], np.flatnonzero(first[1:] != last[:-1]) + 1, [len(frames)]])
        found = []
        for begin, end in zip(runs[:-1].tolist(), runs[1:].tolist()):
            start = int(first[begin])
            size = int(last[end - 1]) - start
            data = self._bytes(start, size)
            if len(data) != size:
                raise damaged(self._path, f"it ends before frame {frames[end - 1]} does: it became shorter")
            if end - begin == 1:
                found.append(data)
            else:
                found += [data[a - start : b - start] for a, b in zip(first[begin:end], last[begin:end])]
        return found

    def _bytes(self, start: int, size: int) -> bytes:
        if start + size <= len(self._held):
            return bytes(self._held[start : start + size])
        if self._file is None:
            self._file = self._open()
        return os.pread(self._file, size, start)

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        return file
