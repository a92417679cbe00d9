"""Files and texts of other people: looked at before they are read, never read beyond a bound, shown in few words."""

from __future__ import annotations

import os
import stat
from pathlib import Path

TEXT_BYTES = 2**16  # of a YAML or a key; ours have up to 10 kB
_VALUE_BYTES = 100
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    ValueError, naming the file, where it is something else (a pipe or a device may never end) or larger; OSError where
    it cannot be opened.
    """
    require_bounded(path, most)  # before it is opened, which alone may wait or do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        _require_bounded(path, os.fstat(descriptor), most)  # it may have been replaced meanwhile
        content = file.read(most + 1)
    if len(content) > most:  # files of the kernel's say that they are empty
        raise ValueError(f"{path}: more than {most} bytes, which such a file does not have")
    return content


def require_bounded(path: Path, most: int) -> None:
    """ValueError or OSError as `read_bounded`, without reading."""
    _require_bounded(path, path.stat(), most)


def shortened(text: str, most: int) -> str:
    """`text` in at most `most` bytes of UTF-8, with its begin and its end, and without unprintable characters."""
    if len(text) > 2 * most:
        text = f"{text[:most]}…{text[-most:]}"
    encoded = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text).encode()
    if len(encoded) > most:
        half = (most - len("…".encode())) // 2
        return f"{encoded[:half].decode(errors='ignore')}…{encoded[-half:].decode(errors='ignore')}"
    return encoded.decode()


def printable(text: str) -> str:
    """`text` as one that a terminal only shows: what would steer it, or is no letter, as its escape; lines stay."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def in_one_line(text: str) -> str:
    """`printable`, and the ends of lines as their escapes too: for names of files, which may hold any letter."""
    return printable(text).replace("\n", "\\n")


def shown(value: object) -> str:
    """A value of a file, for an error message: its repr, or the begin and the end of it."""
    try:
        return shortened(repr(value), _VALUE_BYTES)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a very long {type(value).__name__}"


def _require_bounded(path: Path, found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "something else")
        raise ValueError(f"{path}: {kind}, where a file was expected")
    if found.st_size > most:
        raise ValueError(f"{path}: {found.st_size} bytes; of such a file at most {most} are read")
