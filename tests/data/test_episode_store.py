"""EpisodeStore: what goes in comes out, absent stays absent, and the fingerprint tells contents apart."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from tests.data.made_episodes import made_episode, write_store


def test_round_trip(tmp_path):
    episodes = [made_episode(0, 5), made_episode(1, 2), made_episode(2, 7, languages=())]
    store = write_store(tmp_path / "store", episodes)
    assert (store.num_episodes, store.num_frames, store.num_cameras, store.image_size) == (3, 14, 1, 16)
    assert store.episode_ends.tolist() == [5, 7, 14] and store.episode_starts.tolist() == [0, 5, 7]
    assert store.languages == [["task 0"], ["task 1"], []]
    assert store.names == ["episode0", "episode1", "episode2"]
    assert store.metadata["source"] == "test" and store.control_hz == 5.0
    for episode, start, end in zip(episodes, store.episode_starts, store.episode_ends):
        assert np.array_equal(store.states[start:end], episode.states.astype(np.float32))
        assert np.array_equal(store.actions[start : end - 1], episode.actions.astype(np.float32))
        assert np.isnan(store.actions[end - 1]).all()
        assert np.array_equal(store.images(np.arange(start, end)), np.stack(episode.images[0]))
    assert store.valid.tolist() == [True] * 4 + [False] + [True, False] + [True] * 6 + [False]
    assert store.states.dtype == store.actions.dtype == np.float32
    store.verify()


def test_images_come_in_the_order_asked_for(tmp_path):
    store = write_store(tmp_path / "store", [made_episode(0, 9)])
    every = store.images(np.arange(9))
    assert np.array_equal(store.images([7, 2, 2, 8]), every[[7, 2, 2, 8]])
    assert store.images([]).shape == (0, 16, 16, 3)


def test_bulk_decoding_does_not_depend_on_the_number_of_threads(tmp_path):
    store = write_store(tmp_path / "store", [made_episode(i, 50) for i in range(5)])
    every = store.images(np.arange(250), workers=1)
    assert np.array_equal(store.images(np.arange(250), workers=7), every)
    expected = np.stack([frame for i in range(5) for frame in made_episode(i, 50).images[0]])
    assert np.array_equal(every, expected)


def test_bytes_of_the_right_size_are_kept_and_others_are_squashed_without_further_loss(tmp_path):
    rng = np.random.default_rng(3)
    right = [images.encode_jpeg(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(4)]
    wide = [images.encode_jpeg(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)) for _ in range(4)]
    store = write_store(tmp_path / "store", [made_episode(0, 4, images={0: right, 1: wide})])
    assert (tmp_path / "store" / "camera_0.bin").read_bytes() == b"".join(right)
    assert np.array_equal(store.images(np.arange(4)), np.stack([images.decode(frame) for frame in right]))
    squashed = np.stack([images.squash_resize(images.decode(frame), 16) for frame in wide])
    assert np.array_equal(store.images(np.arange(4), camera=1), squashed)


def test_an_absent_camera_is_absent_and_asking_for_it_names_the_episode(tmp_path):
    store = write_store(
        tmp_path / "store", [made_episode(0, 3, (0,)), made_episode(1, 4, (0, 2)), made_episode(2, 2, (2,))]
    )
    assert store.cameras == (0, 2)
    assert store.has_image(0).tolist() == [True] * 7 + [False] * 2
    assert store.has_image(2).tolist() == [False] * 3 + [True] * 6
    assert np.array_equal(store.images([3, 8], camera=2)[1], made_episode(2, 2, (2,)).images[2][1])
    with pytest.raises(ValueError, match=r"episode 0 \(episode0\) has no images of camera 2"):
        store.images([4, 1], camera=2)
    with pytest.raises(ValueError, match=r"no camera 1; its cameras are \[0, 2\]"):
        store.images([0], camera=1)


def test_a_store_without_images_opens(tmp_path):
    store = write_store(tmp_path / "store", [made_episode(0, cameras=())])
    assert store.num_cameras == 0
    with pytest.raises(ValueError, match="no camera 0"):
        store.images([0])


@pytest.mark.parametrize("indices", [[-1], [5], [0.0], [[0, 1]], 0])
def test_wrong_frame_numbers_are_refused(tmp_path, indices):
    store = write_store(tmp_path / "store", [made_episode(0)])
    with pytest.raises(ValueError, match="frame numbers"):
        store.images(indices)


def test_arrays_cannot_be_changed_by_accident(tmp_path):
    store = write_store(tmp_path / "store", [made_episode(0)])
    for array in (store.states, store.actions, store.valid, store.episode_ends):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_fingerprint_depends_on_the_contents_only(tmp_path):
    first = write_store(tmp_path / "a", [made_episode(0), made_episode(1)])
    again = write_store(tmp_path / "b" / "c", [made_episode(0), made_episode(1)], source="elsewhere")
    assert again.fingerprint == first.fingerprint
    pixels = made_episode(1).images[0]
    pixels[2][3, 4, 1] ^= 1
    actions = made_episode(1).actions.copy()
    actions[0, 0] += 1e-3
    others = [
        write_store(tmp_path / "pixel", [made_episode(0), made_episode(1, images={0: pixels})]),
        write_store(tmp_path / "action", [made_episode(0), made_episode(1, actions=actions)]),
        write_store(tmp_path / "language", [made_episode(0), made_episode(1, languages=("other",))]),
        write_store(tmp_path / "order", [made_episode(1), made_episode(0)]),
        write_store(tmp_path / "domain", [made_episode(0), made_episode(1)], domain="sim"),
        write_store(tmp_path / "rate", [made_episode(0), made_episode(1)], control_hz=10.0),
    ]
    assert len({store.fingerprint for store in [first, *others]}) == 7


def test_the_fingerprint_is_the_same_on_every_machine(tmp_path):
    # Golden value: it changes only with the layout (then raise SCHEMA) and is printed by the failing assert.
    frames = np.arange(3 * 7, dtype=np.float32).reshape(3, 7) / 8
    store = write_store(tmp_path / "store", [Episode("golden", frames, frames[:2], languages=("grüß dich",))])
    assert store.fingerprint == "b94defd13c30311c5c00d5dc924a3972ef5f4d2128e7a9fdb2cfa452025524ec"


def test_the_shared_synthetic_store_is_what_it_says(synthetic_store):
    store = EpisodeStore.open(synthetic_store)
    assert (store.num_episodes, store.num_frames, store.image_size, store.cameras) == (6, 72, 32, (0,))
    assert store.images(np.arange(72)).shape == (72, 32, 32, 3)
