"""A reader of one's own: a folder of `.npz` files, one episode each.

states (T, 7)    x, y, z (m), roll, pitch, yaw (rad), gripper (1 open), measured
actions (T-1, 7) dx, dy, dz (m), droll, dpitch, dyaw (rad), gripper (1 open), commanded
images (T, H, W, 3) uint8 RGB
language         optional: one line of text
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.data.source import EpisodeTask, natural_key


class NpzSource:
    """All episodes of a folder, in the order of their names; see `mqe_core.data.source.Source`."""

    format = "npz"

    def __init__(self, root: Path) -> None:
        self._files = sorted(root.glob("*.npz"), key=lambda path: natural_key(path.name))

    def is_empty(self) -> bool:
        return not self._files

    def num_episodes(self) -> int:
        return len(self._files)

    def tasks(self) -> Iterator[EpisodeTask]:
        """Nothing is read yet: the importer loads episodes in threads."""
        for path in self._files:
            yield EpisodeTask(path.stem, partial(load_episode, path))

    def why_not_read(self, file: Path) -> str | None:
        """For the account of all files below the folder."""
        return None if file in self._files else "no .npz"

    def domain(self) -> str:
        return "real"


def load_episode(path: Path) -> Episode:
    """ValueError says why an episode is unusable; the import names it, and goes on. `Episode` checks the shapes."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"states", "actions", "images"} - set(arrays)
        if missing:
            raise ValueError(f"lacks {', '.join(sorted(missing))}")
        languages = (str(arrays["language"]),) if "language" in arrays else ()
        return Episode(path.stem, arrays["states"], arrays["actions"], {0: list(arrays["images"])}, languages)
