"""RLDS/TFDS shards: told by their keys, checksums really checked, damage costs no more than it must."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data import tfrecord
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.rlds import parse_episode

SHARD = "any_name-train.tfrecord-00000-of-00001"


def _import(root, out, **options):
    return import_episodes(open_source(root), out, **{"image_size": 16, "source_name": str(root), **options})


def _write_shard(file, records) -> list[int]:
    """Write framed records; returns the byte at which each starts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(records))
    return np.cumsum([0, *map(len, records)])[:-1].tolist()


def _info(folder, **shard_lengths):
    splits = [{"name": name, "shardLengths": list(map(str, lengths))} for name, lengths in shard_lengths.items()]
    (folder / "dataset_info.json").write_text(json.dumps({"splits": splits}))


@pytest.fixture
def shard(tmp_path, tfrecord_maker):
    """A shard of 5 episodes with 4 steps each: (file, start byte of each record, features of each)."""
    features = [tfrecord_maker.features(4, seed=i) for i in range(5)]
    file = tmp_path / "src" / SHARD
    starts = _write_shard(file, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    return file, starts, features


def _flip(file, position) -> None:
    contents = bytearray(file.read_bytes())
    contents[position] ^= 0x10
    file.write_bytes(contents)


def test_the_checksum_is_the_standard_one():
    assert tfrecord.masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_episodes_come_through_unchanged(shard, tmp_path):
    file, _, features = shard
    store = _import(tmp_path / "src", tmp_path / "store")
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
    assert _import(shard[0], tmp_path / "store").num_episodes == 5


def test_key_order_and_unknown_keys_do_not_matter(shard, tmp_path, tfrecord_maker):
    file, _, features = shard
    before = _import(tmp_path / "src", tmp_path / "before")
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
    _write_shard(file, records)
    assert _import(tmp_path / "src", tmp_path / "after").fingerprint == before.fingerprint


def test_filler_and_empty_cameras_are_absent_and_a_still_camera_is_not(tmp_path, tfrecord_maker, picture):
    features = [tfrecord_maker.features(3, seed=i) for i in range(2)]
    features[0]["steps/observation/image_2"] = [b""] * 3
    features[1]["steps/observation/image_2"] = [
        tfrecord_maker.jpeg(picture(9, 16, 16))
    ] * 3  # still, but no single colour
    _write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.cameras == (
        0,
        1,
        2,
    )  # image_3 is black throughout; has_image_* says False of all and is not believed
    assert store.has_image(2).tolist() == [False] * 3 + [True] * 3


def test_a_camera_that_shows_one_colour_for_some_steps_only_is_kept(tmp_path, tfrecord_maker):
    features = tfrecord_maker.features(3, cameras=(0,), filler=(1,))
    features["steps/observation/image_1"][2] = features["steps/observation/image_0"][2]
    _write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(features))])
    assert _import(tmp_path / "src", tmp_path / "store").cameras == (0, 1)


def _skips(store) -> list[dict]:
    return store.metadata["skipped"]


@pytest.mark.parametrize("where", ["data", "data checksum"])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_bad_data_checksum_costs_that_episode_only(shard, tmp_path, where, index):
    file, starts, _ = shard
    whole = _import(tmp_path / "src", tmp_path / "whole")
    end = [*starts[1:], file.stat().st_size][index]
    _flip(file, starts[index] + 500 if where == "data" else end - 2)
    store = _import(tmp_path / "src", tmp_path / "store")
    kept = [i for i in range(5) if i != index]
    assert store.names == [f"{SHARD}#{i}" for i in kept]
    frames = np.concatenate([np.arange(4 * i, 4 * i + 4) for i in kept])
    assert np.array_equal(store.states, whole.states[frames])
    assert np.array_equal(store.images(np.arange(16)), whole.images(frames))
    assert _skips(store) == [
        {"name": f"{SHARD}#{index}", "reason": "the record's data does not fit its checksum", "episodes": 1}
    ]


@pytest.mark.parametrize("offset", [0, 3, 7, 8, 11])  # in the length, in its checksum
def test_a_broken_record_length_costs_the_rest_of_its_shard_only(shard, tmp_path, tfrecord_maker, offset):
    file, starts, _ = shard
    other = "any_name-train.tfrecord-00001-of-00002"
    file = file.rename(file.with_name("any_name-train.tfrecord-00000-of-00002"))
    _write_shard(
        file.with_name(other),
        [tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4, seed=9)))],
    )
    _flip(file, starts[2] + offset)
    store = _import(tmp_path / "src", tmp_path / "unknown")
    assert store.names == [f"{file.name}#0", f"{file.name}#1", f"{other}#0"]
    (skipped,) = _skips(store)
    assert skipped["name"] == f"{file.name}#2 and all after it in this shard" and skipped["episodes"] is None
    assert f"the length of the record at byte {starts[2]} does not fit its checksum" in skipped["reason"]
    _info(file.parent, train=[5, 1])  # what TFDS writes beside the shards says how many are lost
    (skipped,) = _skips(_import(tmp_path / "src", tmp_path / "known"))
    assert skipped["episodes"] == 3


@pytest.mark.parametrize("cut", [5, 300, -2])  # in the header, in the data, in the data checksum
def test_a_truncated_shard_keeps_what_is_whole(shard, tmp_path, cut):
    file, starts, _ = shard
    _info(file.parent, train=[5])
    end = (starts[3] if cut > 0 else starts[4]) + cut
    file.write_bytes(file.read_bytes()[:end])
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 3
    (skipped,) = _skips(store)
    assert skipped["episodes"] == 2 and "the file ends inside the" in skipped["reason"]


def test_a_shard_cut_between_records_is_noticed_by_the_stated_number(shard, tmp_path):
    file, starts, _ = shard
    file.write_bytes(file.read_bytes()[: starts[3]])
    assert _skips(_import(tmp_path / "src", tmp_path / "unstated")) == []  # nothing says that there were more
    _info(file.parent, train=[5])
    (skipped,) = _skips(_import(tmp_path / "src", tmp_path / "store"))
    assert skipped["episodes"] == 2 and "ends after 3 records, dataset_info.json says 5" in skipped["reason"]


def test_missing_shards_are_named(shard, tmp_path):
    shard[0].rename(shard[0].with_name("any_name-train.tfrecord-00001-of-00004"))
    (skipped,) = _skips(_import(tmp_path / "src", tmp_path / "store"))
    assert (
        skipped["name"] == "any_name-train.tfrecord"
        and skipped["reason"] == "3 of 4 shards are not there, first number 0"
    )


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
            "steps/action has 3 steps, steps/observation/state 4",
        ),
        (lambda f: {**f, "steps/action": [b"x"] * 28}, "rows of 7 numbers"),
        (lambda f: {**f, "steps/action": []}, "rows of 7 numbers"),
        (lambda f: {**f, "steps/action": [float("nan")] * 28}, "actions hold a value that is not finite"),
        (
            lambda f: {**f, "steps/observation/image_0": f["steps/observation/image_0"][:-1]},
            "camera 0 has 3 images for 4 states",
        ),
        (
            lambda f: {**f, "steps/observation/image_0": [*f["steps/observation/image_0"][:-1], b""]},
            "camera 0, frame 3: not a readable",
        ),
    ],
)
def test_an_unusable_episode_is_skipped_with_its_reason(tmp_path, tfrecord_maker, change, reason):
    features = [tfrecord_maker.features(4, seed=i) for i in range(3)]
    features[1] = change(features[1])
    _write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.names == [f"{SHARD}#0", f"{SHARD}#2"]
    (skipped,) = _skips(store)
    assert skipped["name"] == f"{SHARD}#1" and reason in skipped["reason"]


def test_an_image_of_another_size_costs_its_episode(tmp_path, tfrecord_maker, picture):
    features = [tfrecord_maker.features(4, seed=i) for i in range(2)]
    features[0]["steps/observation/image_1"][2] = tfrecord_maker.jpeg(picture(1, 12, 16))
    _write_shard(tmp_path / "src" / SHARD, [tfrecord_maker.record(tfrecord_maker.example(f)) for f in features])
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1
    assert "camera 1, frame 2: image is 16x12 pixels, the episode's first is 16x16" in _skips(store)[0]["reason"]


def test_a_record_that_is_no_example_is_skipped(tmp_path, tfrecord_maker):
    records = [
        tfrecord_maker.record(b"\xff" * 40),
        tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4))),
    ]
    _write_shard(tmp_path / "src" / SHARD, records)
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1 and "no tf.train.Example" in _skips(store)[0]["reason"]


def test_random_damage_never_ends_the_import_or_passes_unnoticed(shard, tmp_path):
    file, _, _ = shard
    whole = _import(tmp_path / "src", tmp_path / "whole")
    contents = file.read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(15):
        file.write_bytes(contents)
        _flip(file, int(rng.integers(len(contents))))
        try:
            store = _import(tmp_path / "src", tmp_path / f"store{trial}")
        except ValueError as error:
            assert "no usable episode" in str(error)
            continue
        assert store.num_episodes < 5 and len(_skips(store)) == 1
        for name, end in zip(store.names, store.episode_ends):
            start = 4 * int(name.split("#")[1])
            assert np.array_equal(store.states[end - 4 : end], whole.states[start : start + 4])


def test_a_huge_length_with_a_fitting_checksum_reads_nothing(tmp_path, tfrecord_maker):
    length = struct.pack("<Q", 2**62)
    records = [
        tfrecord_maker.record(tfrecord_maker.example(tfrecord_maker.features(4))),
        length + tfrecord_maker.masked(length) + b"short",
    ]
    _write_shard(tmp_path / "src" / SHARD, records)
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1 and "the file ends inside the record" in _skips(store)[0]["reason"]


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
