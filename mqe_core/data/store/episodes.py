"""The episodes' names and annotations: a line of JSON each, and where each line begins.

So one can be read without the others, and none is read before it is asked for. Stores of schema 1 have them in one
JSON list, which is read whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.store import layout
from mqe_core.data.store.checksums import FileEntry
from mqe_core.data.store.commanders import is_runs
from mqe_core.data.store.files import json_line, write_array, write_file
from mqe_core.data.store.metadata import damaged
from mqe_core.files.checks import fields, is_text, list_of
from mqe_core.files.text import parse_json, read_json
from mqe_core.robot.arrays import Ints

Episodes = list[dict[str, Any]]

_EPISODE = fields(
    {"name": is_text, "languages": list_of(lambda value: isinstance(value, str))}, {"commanders": is_runs}
)


def write_lines(folder: Path, episodes: Sequence[dict[str, Any]]) -> dict[str, FileEntry]:
    """Both files of a store's episodes, by name."""
    lines = [json_line(episode) for episode in episodes]
    begins = np.cumsum([0, *map(len, lines)]).astype("<i8")
    return {
        layout.EPISODES_FILE: write_file(folder / layout.EPISODES_FILE, b"".join(lines)),
        layout.LINES_FILE: write_array(folder / layout.LINES_FILE, begins),
    }


def read_lines(path: Path, begins: Ints, first: int, last: int) -> Episodes:
    """The episodes from `first` to before `last`; `begins` (E+1,) is what `LINES_FILE` holds.

    ValueError, naming file and remedy, where a line is none of an episode.
    """
    if first >= last:
        return []
    file = path / layout.EPISODES_FILE
    start = int(begins[first])
    with open(file, "rb") as stream:
        stream.seek(start)
        data = stream.read(int(begins[last]) - start)
    lines: list[bytes] = [
        data[a - start : b - start] for a, b in zip(begins[first:last].tolist(), begins[first + 1 :].tolist())
    ]
    try:
        episodes: Episodes = parse_json(f"[{b','.join(lines).decode('utf-8')}]", file.name)
    except ValueError as error:
        raise damaged(file, str(error)) from error
    if not list_of(_EPISODE)(episodes) or len(episodes) != last - first:
        raise damaged(file, "expected a name and languages in each line")
    return episodes


def read_list(path: Path, num_episodes: int) -> Episodes:
    """All episodes of a store of schema 1. ValueError, naming file and remedy, where it is no list of them."""
    file = path / layout.EPISODES_LIST
    try:
        episodes: Episodes = read_json(file)
    except ValueError as error:
        raise damaged(file, str(error)) from error
    if not list_of(_EPISODE)(episodes):
        raise damaged(file, "expected a list of names and languages")
    if len(episodes) != num_episodes:
        raise damaged(file, f"expected {num_episodes} episodes, got {len(episodes)}")
    return episodes
