"""The folders of a recording: FOLDER, and beside it FOLDER-2, FOLDER-3 … where it grows too large for one bag."""

from __future__ import annotations

import re
from pathlib import Path

from mqe_core.files.disk import require_space
from mqe_core.files.outputs import check_place

_NUMBERED = re.compile(r"(.+)-([0-9]+)")


def numbered(folder: Path, number: int) -> Path:
    """The folder of the recording's bag of that number; the first bag has number 1."""
    return folder if number == 1 else folder.with_name(f"{folder.name}-{number}")


def continuations(folder: Path) -> list[Path]:
    """The folders beside `folder` that have its name and a number, in order. They belong to the same recording."""
    found = [(_NUMBERED.fullmatch(path.name), path) for path in folder.parent.glob("*")]
    return [
        path for _, path in sorted((int(match[2]), path) for match, path in found if match and match[1] == folder.name)
    ]


def require_new(folder: Path) -> None:
    """ValueError where a recording into `folder` would meet what lies there already, or later be read with it."""
    check_place(folder)
    if folder.exists():
        raise ValueError(f"{folder} exists already; name a new folder to record into")
    taken = continuations(folder)
    if taken:
        raise ValueError(
            f"{taken[0]} exists already: a long recording into {folder} would go on under such a name, and be "
            "read together with it; name a new folder to record into, or rename that one"
        )
    match = _NUMBERED.fullmatch(folder.name)
    if match and folder.with_name(match[1]).exists():
        raise ValueError(
            f"{folder} would count as the continuation of {folder.with_name(match[1])}, and be read together with it; "
            "name a folder to record into that does not end in - and a number"
        )
    require_space(folder)
