"""RLDS/TFDS shards: told by their keys, checksums really checked, absent cameras absent."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data.importer import open_source
from mqe_core.data.readers import tfrecord
from mqe_core.data.readers.rlds import parse_episode
from tests.data.written_shards import SHARD, import_shards, write_shard


def test_the_checksum_is_the_standard_one():
    assert tfrecord.masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_episodes_come_through_unchanged(shard, tmp_path):
    file, _, features = shard
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert (store.num_episodes, store.num_frames) == (5, 20)
    assert store.names == [f"{SHARD}#{i}" for i in range(5)]
    for i, expected in enumerate(features):
        frames = slice(4 * i, 4 * i + 4)
        actions = np.array(expected["steps/action"], np.float32).reshape(4, 7)
        assert np.array_equal(
            store.states[frames], np.array(expected["steps/observation/state"], np.float32).reshape(4, 7)
        )
        assert np.array_equal(store.actions[frames][:3], actions[:3])
        assert np.isnan(store.actions[frames][3]).all() and not store.valid[4 * i + 3]  # the last step leads nowhere
        for camera in (0, 1):
            pixels = np.stack([images.decode(frame) for frame in expected[f"steps/observation/image_{camera}"]])
            assert np.array_equal(store.images(np.arange(4 * i, 4 * i + 4), camera), pixels)
    assert store.languages == [["put the cup in the sink"]] * 5
    assert store.metadata["format"] == "rlds" and store.metadata["skipped"] == []
    originals = [frame for f in features for frame in f["steps/observation/image_0"]]
    assert (tmp_path / "store" / "camera_0.bin").read_bytes() == b"".join(originals)


def test_one_shard_can_be_named_itself(shard, tmp_path):
    assert import_shards(shard[0], tmp_path / "store").num_episodes == 5


def test_key_order_and_unknown_keys_do_not_matter(shard, tmp_path, tfrecord_maker):
    file, _, features = shard
    before = import_shards(tmp_path / "src", tmp_path / "before")
    rng = np.random.default_rng(0)
    records = []
    for f in features:
        f = {
            **f,
            "steps/reward": [0.5] * 4,
            "steps/new_key": [b"\xff\x00"],
            "steps/observation/image_primary": [b"x"],
            "empty": [],
        }
        records.append(tfrecord_maker.record(tfrecord_maker.example({key: f[key] for key in rng.permutation(list(f))})))
    write_shard(file, records)
    assert import_shards(tmp_path / "src", tmp_path / "after").fingerprint == before.fingerprint


def test_filler_and_empty_cameras_are_absent_and_a_still_camera_is_not(tmp_path, tfrecord_maker, picture):
    features = [tfrecord_maker.features(3, seed=i) for i in range(2)]
    features[0]["steps/observation/image_2"] = [b""] * 3
    still = tfrecord_maker.jpeg(picture(9, 16, 16))  # of more than one colour
    features[1]["steps/observation/image_2"] = [still] * 3
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = import_shards(tmp_path / "src", tmp_path / "store")
    # image_3 is black throughout. has_image_* says False of all, and is not believed.
    assert store.cameras == (0, 1, 2)
    assert store.has_image(2).tolist() == [False] * 3 + [True] * 3


def test_a_camera_that_shows_one_colour_for_some_steps_only_is_kept(tmp_path, tfrecord_maker):
    features = tfrecord_maker.features(3, cameras=(0,), filler=(1,))
    features["steps/observation/image_1"][2] = features["steps/observation/image_0"][2]
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(features))])
    assert import_shards(tmp_path / "src", tmp_path / "store").cameras == (0, 1)


def test_parse_episode_keeps_distinct_instructions_in_order(tfrecord_maker):
    features = tfrecord_maker.features(4, cameras=())
    features["steps/language_instruction"] = [b"b", b"a", b"", b"b"]
    assert parse_episode(tfrecord_maker.example(features), "x").languages == ("b", "a")


def test_the_format_is_found_by_the_files(shard, tmp_path, make_trajectory):
    assert open_source(tmp_path / "src").format == "rlds"
    make_trajectory(tmp_path / "both/2023-01-01_00-00-00/raw/traj_group0/traj0", 3)
    assert open_source(tmp_path / "both").format == "bridge-raw"
    os.rename(shard[0], tmp_path / "both" / SHARD)
    with pytest.raises(ValueError, match=r"several formats \(rlds, bridge-raw\); choose one with --format"):
        open_source(tmp_path / "both")
    assert open_source(tmp_path / "both", "rlds").num_episodes() is None
    assert open_source(tmp_path / "both", "bridge-raw").num_episodes() == 1
    with pytest.raises(ValueError, match="holds no episodes in the format rlds or bridge-raw"):
        open_source(tmp_path / "src")
    with pytest.raises(ValueError, match="does not exist"):
        open_source(tmp_path / "nowhere")
