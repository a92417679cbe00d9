"""Whether the files of a store are what was written: block by block, on all cores.

A file that has no checksums of its blocks (a small one, or one of an earlier version) is one block.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from mqe_core.data.store.metadata import damaged
from mqe_core.data.store.part import StorePart
from mqe_core.files.progress import Progress

_READ_BYTES = 1 << 20
_SHOWN = 3  # damaged blocks that are named


class Verified(NamedTuple):
    """What was read and found whole."""

    files: int
    blocks: int
    num_bytes: int


class _Block(NamedTuple):
    part: StorePart
    name: str
    begin: int
    end: int
    sha256: str


def verify(parts: Sequence[StorePart], progress: bool = False) -> Verified:
    """Read every byte of every file and compare it with the checksums of its writing.

    ValueError, naming the file and the frames, where some differ, or the checksums do not cover the file.
    """
    blocks = [block for part in parts for block in _blocks(part)]
    largest_first = sorted(blocks, key=lambda block: block.begin - block.end)
    wrong = []
    total = sum(block.end - block.begin for block in blocks)
    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        Progress(total=total, unit="B", unit_scale=True, desc="verifying", disable=not progress) as bar,
    ):
        for block, is_whole in zip(largest_first, pool.map(_is_whole, largest_first)):
            wrong += [] if is_whole else [block]
            bar.update(block.end - block.begin)
    if wrong:
        raise _error(sorted(wrong, key=lambda block: (str(block.part.path), block.name, block.begin)), len(blocks))
    return Verified(len({(block.part.path, block.name) for block in blocks}), len(blocks), total)


def _blocks(part: StorePart) -> Iterator[_Block]:
    for name, entry in part.metadata["files"].items():
        size, of_blocks = entry["bytes"], entry.get("blocks")
        if of_blocks is None:
            yield _Block(part, name, 0, size, entry["sha256"])
            continue
        step = of_blocks["bytes"]
        begins = range(0, size, step)
        if len(begins) != len(of_blocks["sha256"]):
            found = f"{len(of_blocks['sha256'])} checksums of blocks"
            raise damaged(part.path / name, f"expected {len(begins)}, the metadata has {found}")
        for begin, sha256 in zip(begins, of_blocks["sha256"]):
            yield _Block(part, name, begin, min(begin + step, size), sha256)


def _is_whole(block: _Block) -> bool:
    digest = hashlib.sha256()
    with open(block.part.path / block.name, "rb", buffering=0) as stream:
        stream.seek(block.begin)
        left = block.end - block.begin
        while left and (data := stream.read(min(_READ_BYTES, left))):
            digest.update(data)
            left -= len(data)
    return not left and digest.hexdigest() == block.sha256


def _error(wrong: Sequence[_Block], of: int) -> ValueError:
    said = "; ".join(map(_where, wrong[:_SHOWN])) + ("; …" if len(wrong) > _SHOWN else "")
    what = f"the contents changed since the import (sha256 differs) in {len(wrong)} of {of} blocks: {said}"
    return damaged(wrong[0].part.path / wrong[0].name, what)


def _where(block: _Block) -> str:
    """Which bytes, and of a camera's file which frames and episodes."""
    part = block.part
    place = f"{block.name} bytes {block.begin} to {block.end}"
    frames = part.frames_between(block.name, block.begin, block.end)
    if frames is None:
        return place
    first, last = (int((part.episode_ends <= frame).sum()) for frame in frames)
    (begins,), (ends,) = part.episodes(first, first + 1), part.episodes(last, last + 1)
    return f"{place}, frames {frames[0]} to {frames[1]}, episodes {begins['name']!r} to {ends['name']!r}"
