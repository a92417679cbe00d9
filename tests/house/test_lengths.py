"""No Python file is longer than a reader keeps in mind, and no line longer than the window. Pages: tests/docs."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("mqe_core", "sim", "ros2_ws/src", "robot_configs", "benchmarks", "tests", "docs")
MOST_LINES = 300
MOST_COLUMNS = 120


def texts() -> list[tuple[str, list[str]]]:
    """(path from the root, lines) of every Python file of ours. What a build made is not ours."""
    paths = [ROOT / "setup.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    found = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8").splitlines()) for path in paths]
    assert len(found) > 200
    return found


def test_files_are_short() -> None:
    too_long = {path: len(lines) for path, lines in texts() if len(lines) > MOST_LINES}
    assert not too_long, f"split these by idea, at {MOST_LINES} lines at the most: {too_long}"


def settings() -> list[tuple[str, list[str]]]:
    """(path from the root, lines) of scripts, configurations and messages; not of what an earlier version wrote."""
    kinds = ("*.sh", "*.toml", "*.yaml", "*.yml", "*.txt", "*.msg", "*.action", "*.cfg")
    paths = [ROOT / "Makefile", *(path for kind in kinds for path in ROOT.glob(kind))]
    paths += [path for folder in (*FOLDERS, "requirements") for kind in kinds for path in (ROOT / folder).rglob(kind)]
    kept = [path for path in paths if (ROOT / "tests" / "formats") not in path.parents]
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8").splitlines()) for path in kept]


def test_lines_are_short() -> None:
    too_long = [
        f"{path}:{number}"
        for path, lines in [*texts(), *settings()]
        for number, line in enumerate(lines, 1)
        if len(line) > MOST_COLUMNS
    ]
    assert not too_long, too_long


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_looked_at(folder: str) -> None:
    assert (ROOT / folder).is_dir(), f"{folder} has moved: look for its files where they are now"
