"""EncodedCache: the encoded images of one camera, or as many as are to be had, in memory that other processes share.

It holds the first bytes of each part's file, up to a bound over all parts. Frames are drawn evenly, so that which ones
it holds does not matter. Unlike the system's cache of files it is not given up for other files, and asks no server.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqe_core.files.progress import Progress

_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class EncodedCache:
    """Attributes:
    memory: an open file without a name, which other processes may inherit.
    held: of each part of the store, how many of its file's first bytes lie there, one part after the other.
    """

    memory: int
    held: tuple[int, ...]

    @classmethod
    def fill(cls, files: Sequence[Path | None], most_bytes: int, progress: bool = False) -> EncodedCache:
        """Read the files, of each part one, None where it has none, until `most_bytes` are there.

        WriteError of the system (MemoryError, OSError) where there is no such memory.
        """
        held, left = [], most_bytes
        for file in files:
            held.append(min(left, file.stat().st_size) if file is not None else 0)
            left -= held[-1]
        memory = os.memfd_create("mqe-encoded-images")
        try:
            with Progress(
                total=sum(held), unit="B", unit_scale=True, desc="reading images", disable=not progress, leave=False
            ) as bar:
                for file, size in zip(files, held):
                    if file is not None and size:
                        _copy(file, memory, size, bar)
        except BaseException:
            os.close(memory)
            raise
        return cls(memory, tuple(held))

    @classmethod
    def inherited(cls, given: Mapping[str, Any]) -> EncodedCache:
        """That of another process, which gave what `to_hand_on` says."""
        return cls(given["memory"], tuple(given["held"]))

    def to_hand_on(self) -> dict[str, Any]:
        """For `inherited`, as JSON; the memory's file is handed on beside it."""
        return {"memory": self.memory, "held": list(self.held)}

    @property
    def num_bytes(self) -> int:
        """Of all that is held."""
        return sum(self.held)

    def parts(self) -> list[memoryview]:
        """Of each part what is held, read-only."""
        if not self.num_bytes:
            return [memoryview(b"") for _ in self.held]
        whole = memoryview(mmap.mmap(self.memory, self.num_bytes, prot=mmap.PROT_READ))
        ends = [sum(self.held[: number + 1]) for number in range(len(self.held))]
        return [whole[end - size : end] for end, size in zip(ends, self.held)]

    def close(self) -> None:
        """Let go of it here; what others inherited, and `parts`, stay."""
        os.close(self.memory)


def _copy(file: Path, memory: int, size: int, bar: Any) -> None:
    with open(file, "rb", buffering=0) as stream:
        while size and (data := stream.read(min(_READ_BYTES, size))):
            view = memoryview(data)
            while len(view):
                view = view[os.write(memory, view) :]
            size -= len(data)
            bar.update(len(data))
    if size:
        raise OSError(f"{file} became shorter while it was read")
