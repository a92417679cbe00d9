"""The files of an EpisodeStore as they are written: each flushed to the disk, with its size and checksums."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mqe_core.data.store.checksums import Checksums, FileEntry, checksums_of
from mqe_core.files.disk import sync
from mqe_core.robot.arrays import AnyArray, Ints


class GrowingFile:
    """A file that is appended to, with the checksums of all that was. `at`: where to go on in one that is there."""

    def __init__(self, path: Path, at: Checksums | None = None) -> None:
        self.stream: BinaryIO = open(path, "xb" if at is None else "r+b")
        self._checksums = Checksums() if at is None else at.copy()
        self.stream.truncate(self._checksums.num_bytes)
        self.stream.seek(self._checksums.num_bytes)

    def write(self, data: bytes) -> None:
        """Append."""
        self.stream.write(data)
        self._checksums.update(data)

    def point(self) -> Checksums:
        """How far it has come."""
        return self._checksums.copy()

    def flush(self) -> None:
        """To the disk."""
        _flush_to_disk(self.stream)

    def close(self) -> None:
        """Close it as it is; what is still to be flushed may find the disk full."""
        with contextlib.suppress(OSError):
            self.stream.close()

    def finish(self) -> FileEntry:
        """Flush and close it."""
        self.flush()
        self.stream.close()
        return self._checksums.entry()


class CameraFile(GrowingFile):
    """The .bin of one camera while it grows."""

    def __init__(self, path: Path, frames_before: int, at: Checksums | None = None) -> None:
        super().__init__(path, at)
        self.sizes: list[Ints] = [np.zeros(frames_before, dtype=np.int64)]  # bytes per frame; 0: no image

    def append(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.write(frame)
        self.append_sizes([len(frame) for frame in frames])

    def append_sizes(self, sizes: Sequence[int] | Ints) -> None:
        """Of frames whose bytes stand in the file."""
        self.sizes.append(np.array(sizes, dtype=np.int64))

    def append_absent(self, num_frames: int) -> None:
        self.sizes.append(np.zeros(num_frames, dtype=np.int64))


def json_bytes(value: object) -> bytes:
    """As UTF-8. What comes from a file name that is not UTF-8 is escaped, and reads back the same."""
    try:
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=1, sort_keys=True).encode("ascii")


def json_line(value: object) -> bytes:
    """Likewise, in one line with its end."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True).encode("ascii") + b"\n"


def write_array(file: Path, array: AnyArray) -> FileEntry:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return write_file(file, buffer.getvalue())


def write_file(file: Path, contents: bytes) -> FileEntry:
    with open(file, "xb") as stream:
        stream.write(contents)
        _flush_to_disk(stream)
    return checksums_of(contents).entry()


def _flush_to_disk(stream: BinaryIO) -> None:
    stream.flush()
    sync(stream.fileno())
