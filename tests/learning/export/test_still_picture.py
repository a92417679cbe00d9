"""Promise: what stands still in all episodes stays in their common picture, and tables of their own have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.export.still_picture import still_picture
from mqe_core.robot.arrays import Images

SIZE, LENGTH = 32, 4


def store_of(path: Path, pictures: list[Images]) -> EpisodeStore:
    """An episode for each; its later frames are black."""
    with EpisodeWriter(path, image_size=SIZE, domain="sim") as writer:
        for number, picture in enumerate(pictures):
            frames = [picture] + [np.zeros_like(picture)] * (LENGTH - 1)
            writer.add(Episode(f"episode{number}", np.zeros((LENGTH, 7)), np.zeros((LENGTH - 1, 7)), {0: frames}))
    return EpisodeStore.open(path)


def tables(same: bool) -> list[Images]:
    """Eight pictures of a table with an edge, and a white thing at another place in each."""
    found: list[Images] = []
    for k in range(8):
        picture = np.full((SIZE, SIZE, 3), 60, np.uint8)
        picture[:, SIZE // 2 :] = 140 if same else 25 * k
        picture[: SIZE // 2] += 0 if same else np.uint8(23 * k)
        picture[4 * k : 4 * k + 4, 3 * k : 3 * k + 4] = 255
        found.append(picture)
    return found


def test_the_table_stays_and_what_moves_is_gone(tmp_path: Path) -> None:
    still = still_picture(store_of(tmp_path / "store", tables(same=True)), 0, SIZE)
    assert still is not None
    expected = np.full((SIZE, SIZE, 3), 60, np.uint8)
    expected[:, SIZE // 2 :] = 140
    assert np.abs(still.astype(int) - expected).max() <= 6


def test_tables_of_their_own_have_none_in_common(tmp_path: Path) -> None:
    assert still_picture(store_of(tmp_path / "store", tables(same=False)), 0, SIZE) is None


def test_without_pictures_of_that_size_there_is_none(tmp_path: Path) -> None:
    assert still_picture(store_of(tmp_path / "store", tables(same=True)), 0, 2 * SIZE) is None
