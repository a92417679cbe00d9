"""The folders of a recording: FOLDER and, where it grows too large for one bag, FOLDER-2, FOLDER-3 and so on beside it."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBERED = re.compile(r"(.+)-([0-9]+)")


def numbered(folder: Path, number: int) -> Path:
    """The folder of a recording's bag of that number, from 1."""
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")


def continuations(folder: Path) -> list[Path]:
    """What exists beside `folder` under its name and a number, in order: all of it counts as the same recording."""
    found = [(_NUMBERED.fullmatch(path.name), path) for path in folder.parent.glob("*")]
    return [
        path for _, path in sorted((int(match[2]), path) for match, path in found if match and match[1] == folder.name)
    ]


def require_new(folder: Path) -> None:
    """ValueError where a recording into `folder` would stop at, or later be read together with, what lies there already."""
    if folder.exists():
        raise ValueError(f"{folder} exists already; name a new folder to record into")
    taken = continuations(folder)
    if taken:
        raise ValueError(
            f"{taken[0]} exists already: a long recording into {folder} would go on under such a name, and be read together with it; "
            "name a new folder to record into, or rename that one"
        )
    match = _NUMBERED.fullmatch(folder.name)
    if match and folder.with_name(match[1]).exists():
        raise ValueError(
            f"{folder} would count as the continuation of {folder.with_name(match[1])}, and be read together with it; "
            "name a folder to record into that does not end in - and a number"
        )
