"""Names that come from a browser, and the files that they may mean: what lies in one folder, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_NAME_BYTES = 255  # what file systems take


def entry_of(folder: Path, name: str, *, may_link: bool = False) -> Path | None:
    """What lies in `folder` under exactly that name; None where nothing does. A path is never a name.

    ValueError where it is a link that leads out of the folder. `may_link`: it may, in a folder that was installed, as
    colcon does with --symlink-install.
    """
    try:
        is_name = len(name.encode()) <= _MOST_NAME_BYTES and name not in ("", ".", "..")
    except UnicodeEncodeError:
        is_name = False
    if is_name and not set(name) & {"/", "\\", "\0"}:
        path = folder / name
        if os.path.lexists(path):
            return path if may_link else require_inside(folder, path)
    return None


def require_inside(folder: Path, path: Path) -> Path:
    """The path itself. ValueError where it leads out of the folder, by whatever links."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise ValueError(f"{path} is a link that leads out of {folder}; the console shows only what lies there")
    return path
