"""RLDS/TFDS shards: damage costs no more than it must, and is named."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.data.written_shards import SHARD, flip, import_shards, skips, write_info, write_shard


@pytest.mark.parametrize("where", ["data", "data checksum"])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_bad_data_checksum_costs_that_episode_only(shard, tmp_path, where, index):
    file, starts, _ = shard
    whole = import_shards(tmp_path / "src", tmp_path / "whole")
    end = [*starts[1:], file.stat().st_size][index]
    flip(file, starts[index] + 500 if where == "data" else end - 2)
    store = import_shards(tmp_path / "src", tmp_path / "store")
    kept = [i for i in range(5) if i != index]
    assert store.names == [f"{SHARD}#{i}" for i in kept]
    frames = np.concatenate([np.arange(4 * i, 4 * i + 4) for i in kept])
    assert np.array_equal(store.states, whole.states[frames])
    assert np.array_equal(store.images(np.arange(16)), whole.images(frames))
    assert skips(store) == [
        {"name": f"{SHARD}#{index}", "reason": "the record's data does not fit its checksum", "episodes": 1}
    ]


@pytest.mark.parametrize("offset", [0, 3, 7, 8, 11])  # in the length, in its checksum
def test_a_broken_record_length_costs_the_rest_of_its_shard_only(shard, tmp_path, tfrecord_maker, offset):
    file, starts, _ = shard
    other = "any_name-train.tfrecord-00001-of-00002"
    file = file.rename(file.with_name("any_name-train.tfrecord-00000-of-00002"))
    write_shard(
        file.with_name(other),
        [tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4, seed=9)))],
    )
    flip(file, starts[2] + offset)
    store = import_shards(tmp_path / "src", tmp_path / "unknown")
    assert store.names == [f"{file.name}#0", f"{file.name}#1", f"{other}#0"]
    (skipped,) = skips(store)
    assert skipped["name"] == f"{file.name}#2 and all after it in this shard" and skipped["episodes"] is None
    assert f"the length of the record at byte {starts[2]} does not fit its checksum" in skipped["reason"]
    write_info(file.parent, train=[5, 1])  # what TFDS writes beside the shards says how many are lost
    (skipped,) = skips(import_shards(tmp_path / "src", tmp_path / "known"))
    assert skipped["episodes"] == 3


@pytest.mark.parametrize("cut", [5, 300, -2])  # in the header, in the data, in the data checksum
def test_a_truncated_shard_keeps_what_is_whole(shard, tmp_path, cut):
    file, starts, _ = shard
    write_info(file.parent, train=[5])
    end = (starts[3] if cut > 0 else starts[4]) + cut
    file.write_bytes(file.read_bytes()[:end])
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 3
    (skipped,) = skips(store)
    assert skipped["episodes"] == 2 and "the file ends inside the" in skipped["reason"]


def test_a_shard_cut_between_records_is_noticed_by_the_stated_number(shard, tmp_path):
    file, starts, _ = shard
    file.write_bytes(file.read_bytes()[: starts[3]])
    assert skips(import_shards(tmp_path / "src", tmp_path / "unstated")) == []  # nothing says that there were more
    write_info(file.parent, train=[5])
    (skipped,) = skips(import_shards(tmp_path / "src", tmp_path / "store"))
    assert skipped["episodes"] == 2 and "ends after 3 records, dataset_info.json says 5" in skipped["reason"]


def test_missing_shards_are_named(shard, tmp_path):
    shard[0].rename(shard[0].with_name("any_name-train.tfrecord-00001-of-00004"))
    (skipped,) = skips(import_shards(tmp_path / "src", tmp_path / "store"))
    assert (
        skipped["name"] == "any_name-train.tfrecord"
        and skipped["reason"] == "3 of 4 shards are not there, first number 0"
    )


_CAMERAS = ("steps/observation/image_0", "steps/observation/image_1")


def _without(features, key):
    return {k: v for k, v in features.items() if k != key}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda f: _without(f, "steps/action"),
            "no key steps/action; the record has episode_metadata/file_path, ",
        ),
        (lambda f: _without(f, "steps/observation/state"), "no key steps/observation/state"),
        (
            lambda f: {**f, "steps/action": f["steps/action"][:-1]},
            "expected steps/action to hold rows of 7 numbers, got 27 values",
        ),
        (
            lambda f: {**f, "steps/action": f["steps/action"][:-7]},
            "steps/action has 3 steps, steps/is_first 4",
        ),
        (lambda f: {**f, "steps/action": [b"x"] * 28}, "rows of 7 numbers"),
        (lambda f: {**f, "steps/action": []}, "rows of 7 numbers"),
        (lambda f: {**f, "steps/action": [float("nan")] * 28}, "actions hold a value that is not finite"),
        (
            lambda f: {**f, **{key: f[key][:-1] for key in _CAMERAS}},
            "camera 0 has 3 images for 4 states",
        ),
        (
            lambda f: {**f, **{key: [*f[key][:-1], b""] for key in _CAMERAS}},
            "camera 0 has 3 images for 4 states",
        ),
        (
            lambda f: {**f, "steps/observation/image_0": [*f["steps/observation/image_0"][:-1], b"x"]},
            "camera 0, frame 3: not a readable",
        ),
    ],
)
def test_an_unusable_episode_is_skipped_with_its_reason(tmp_path, tfrecord_maker, change, reason):
    features = [tfrecord_maker.features(4, seed=i) for i in range(3)]
    features[1] = change(features[1])
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.names == [f"{SHARD}#0", f"{SHARD}#2"]
    (skipped,) = skips(store)
    assert skipped["name"] == f"{SHARD}#1" and reason in skipped["reason"]


@pytest.mark.parametrize("end", [[], [b""]])
def test_a_camera_that_vanishes_midway_costs_that_camera_of_that_episode_only(tmp_path, tfrecord_maker, end):
    features = [tfrecord_maker.features(4, seed=i) for i in range(3)]
    features[1]["steps/observation/image_1"][3:] = end
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 3 and store.has_image(0).all() and skips(store) == []
    assert store.has_image(1)[store.episode_starts].tolist() == [True, False, True]
    assert store.metadata["lost_cameras"] == {"1": 1}


def test_an_image_of_another_size_costs_its_episode(tmp_path, tfrecord_maker, picture):
    features = [tfrecord_maker.features(4, seed=i) for i in range(2)]
    features[0]["steps/observation/image_1"][2] = tfrecord_maker.jpeg(picture(1, 12, 16))
    write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1
    assert "camera 1, frame 2: image is 16x12 pixels, the episode's first is 16x16" in skips(store)[0]["reason"]


def test_a_record_that_is_no_example_is_skipped(tmp_path, tfrecord_maker):
    records = [
        tfrecord_maker.record(b"\xff" * 40),
        tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4))),
    ]
    write_shard(tmp_path / "src" / SHARD, records)
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1 and "no tf.train.Example" in skips(store)[0]["reason"]


def test_random_damage_never_ends_the_import_or_passes_unnoticed(shard, tmp_path):
    file, _, _ = shard
    whole = import_shards(tmp_path / "src", tmp_path / "whole")
    contents = file.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(15):
        file.write_bytes(contents)
        flip(file, int(rng.integers(len(contents))))
        try:
            store = import_shards(tmp_path / "src", tmp_path / f"store{trial}")
        except ValueError as error:
            assert "no usable episode" in str(error)
            continue
        assert store.num_episodes < 5 and len(skips(store)) == 1
        for name, end in zip(store.names, store.episode_ends):
            start = 4 * int(name.split("#")[1])
            assert np.array_equal(store.states[end - 4 : end], whole.states[start : start + 4])


def test_a_huge_length_with_a_fitting_checksum_reads_nothing(tmp_path, tfrecord_maker):
    length = struct.pack("<Q", 2**62)
    records = [
        tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4))),
        length + tfrecord_maker.masked(length) + b"short",
    ]
    write_shard(tmp_path / "src" / SHARD, records)
    store = import_shards(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1 and "the file ends inside the record" in skips(store)[0]["reason"]
