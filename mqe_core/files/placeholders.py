"""Files that stand for others which have not been fetched."""

from __future__ import annotations

import contextlib
from pathlib import Path

_LFS = b"version https://git-lfs.github.com/spec/v1"
MOST_BYTES = 1024  # of a pointer, by its specification
POINTER = "a pointer of Git LFS, and not the file itself: git lfs pull fetches it"


def is_pointer(content: bytes) -> bool:
    """Whether the bytes are a pointer of Git LFS, which a clone without it leaves in the place of large files."""
    return content.startswith(_LFS) and len(content) <= MOST_BYTES


def why_unreadable(file: Path) -> str:
    """`: ` and what the file is, where it is a pointer; else nothing. To end an error that it cannot be read with."""
    with contextlib.suppress(OSError):
        if file.stat().st_size <= MOST_BYTES and is_pointer(file.read_bytes()):
            return f": {POINTER}"
    return ""
