"""Promise: encoded images held in memory are the store's own, for whatever part of them there is room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.store.decoding_pool import DecodingPool
from mqe_core.data.store.encoded_cache import EncodedCache
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store

SHARES = [0.0, 0.3, 0.7, 1.0, 2.0]


@pytest.fixture
def store(tmp_path) -> EpisodeStore:
    """Of three parts; the second has no camera 0, the third has a second camera."""
    cameras = {"a": (0,), "b": (1,), "c": (0, 1)}
    for number, (name, its) in enumerate(cameras.items()):
        write_store(tmp_path / name, [made_episode(10 * number + k, cameras=its) for k in range(3)])
    assert main(["data", "merge", *(str(tmp_path / name) for name in cameras), "--out", str(tmp_path / "store")]) == 0
    return EpisodeStore.open(tmp_path / "store")


def _files(store: EpisodeStore) -> list[Path]:
    return sorted(store.path.glob("part-*/camera_0.bin"))


def _frames(store: EpisodeStore) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.flatnonzero(store.has_image(0)))


@pytest.mark.parametrize("share", SHARES)
def test_images_are_the_same_wherever_they_come_from(store, share) -> None:
    wanted, size = store.images(_frames(store)), sum(file.stat().st_size for file in _files(store))
    other = store.images(np.flatnonzero(store.has_image(1)), 1)
    cache = store.cache_encoded(0, round(share * size))
    assert cache.num_bytes == min(round(share * size), size)
    np.testing.assert_array_equal(store.images(_frames(store)), wanted)
    np.testing.assert_array_equal(store.images(np.flatnonzero(store.has_image(1)), 1), other)
    cache.close()
    np.testing.assert_array_equal(store.images(_frames(store)), wanted)


def test_what_is_held_is_not_read_again(store) -> None:
    wanted = store.images(_frames(store))
    store = EpisodeStore.open(store.path)
    store.cache_encoded(0, 1 << 30)
    for file in _files(store):
        file.write_bytes(bytes(file.stat().st_size))
    np.testing.assert_array_equal(store.images(_frames(store)), wanted)


@pytest.mark.parametrize("share", SHARES)
def test_workers_take_it_from_there(store, share) -> None:
    frames, size = _frames(store), sum(file.stat().st_size for file in _files(store))
    wanted, cache = store.images(frames), store.cache_encoded(0, round(share * size))
    if share >= 1.0:
        for file in _files(store):
            file.write_bytes(bytes(file.stat().st_size))
    pool = DecodingPool(store, 0, workers=2, most_images=len(frames), batches=1, cache=cache)
    np.testing.assert_array_equal(pool.take(pool.ask(frames)), wanted)
    pool.close()
    cache.close()


def test_a_file_that_becomes_shorter_is_named(store, monkeypatch) -> None:
    class Longer(type(Path())):
        def stat(self, **options):
            return type("Status", (), {"st_size": 10**6})

    with pytest.raises(OSError, match="camera_0.bin became shorter"):
        EncodedCache.fill([Longer(_files(store)[0])], 10**6)
