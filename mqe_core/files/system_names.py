"""What operating systems leave beside people's files, on a disk or in a folder: it is no data, and nobody's work."""

from __future__ import annotations

_NAMES = {
    ".DS_Store",
    ".Spotlight-V100",
    ".TemporaryItems",
    ".Trashes",
    ".fseventsd",
    "$RECYCLE.BIN",
    "System Volume Information",
    "Thumbs.db",
    "__MACOSX",
    "desktop.ini",
    "lost+found",
}
_BEGINS = ("._", ".Trash-", ".nfs")  # macOS beside each file; a desktop's bin; an open file on NFS that was deleted


def is_of_a_system(name: str) -> bool:
    """Whether a file or folder of this name was made by an operating system for itself."""
    return name in _NAMES or name.startswith(_BEGINS)
