"""Checksums of a file: of all its bytes, and of each block of them, which several cores can compare at once."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

BLOCK_BYTES = 1 << 24

FileEntry = dict[str, Any]  # what the metadata states of a file: bytes, sha256, and of a large one blocks


class Checksums:
    """Of the bytes that were given so far, `num_bytes` of them."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._whole = hashlib.sha256()
        self._block = hashlib.sha256()  # of the block that has begun
        self._blocks: tuple[str, ...] = ()  # of those that are whole

    def update(self, data: bytes) -> None:
        """Further bytes."""
        self._whole.update(data)
        view = memoryview(data)
        while len(view):
            room = BLOCK_BYTES - self.num_bytes % BLOCK_BYTES
            self._block.update(view[:room])
            self.num_bytes += min(room, len(view))
            view = view[room:]
            if self.num_bytes % BLOCK_BYTES == 0:
                self._blocks += (self._block.hexdigest(),)
                self._block = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all of them, as hex."""
        return self._whole.hexdigest()

    def copy(self) -> Checksums:
        """As they are now; what comes later changes the original only."""
        same = copy.copy(self)
        same._whole, same._block = self._whole.copy(), self._block.copy()
        return same

    def entry(self) -> FileEntry:
        """For the metadata. A file of one block has none of its own."""
        entry: FileEntry = {"bytes": self.num_bytes, "sha256": self.sha256}
        if self.num_bytes > BLOCK_BYTES:
            last = (self._block.hexdigest(),) if self.num_bytes % BLOCK_BYTES else ()
            entry["blocks"] = {"bytes": BLOCK_BYTES, "sha256": [*self._blocks, *last]}
        return entry


def checksums_of(data: bytes) -> Checksums:
    """Of these bytes."""
    checksums = Checksums()
    checksums.update(data)
    return checksums
