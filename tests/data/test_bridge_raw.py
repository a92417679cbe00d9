"""Raw BridgeData trees: good trajectories come through unchanged, bad ones are skipped with their reason."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest

from mqe_core import images
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.readers.bridge_raw import BridgeRawSource, find_collection_folders

DATED = "bridge_data_v2/toykitchen1/put_cup/00/2023-01-02_03-04-05"
OLD = "bridge_data_v1/berkeley/toysink/flip_pot/2021-07-22_23-59-59"
FIRST_DAY = "bridge_data_v1/berkeley/toysink/flip_pot/2021-07-23_00-00-00"


def _import(root, out, **options):
    return import_episodes(open_source(root), out, **{"image_size": 8, "source_name": str(root), **options})


def _skips(store) -> dict[str, str]:
    return {entry["name"]: entry["reason"] for entry in store.metadata["skipped"]}


def test_a_trajectory_comes_through_unchanged(tmp_path, make_trajectory):
    made = make_trajectory(
        tmp_path / "src" / DATED / "raw/traj_group0/traj0",
        12,
        cameras=(0, 2),
        language="put cup away\nconfidence: 0.9\n\n  take cup \n",
    )
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.names == [f"{DATED}/raw/traj_group0/traj0"]
    assert np.array_equal(store.states, made.states.astype(np.float32))
    assert np.array_equal(store.actions[:-1], made.actions.astype(np.float32)) and np.isnan(store.actions[-1]).all()
    assert store.languages == [["put cup away", "take cup"]]
    assert store.cameras == (0, 2)
    for camera in (0, 2):  # im_10 comes after im_9, not after im_1
        expected = np.stack([images.squash_resize(images.decode(frame), 8) for frame in made.images[camera]])
        assert np.array_equal(store.images(np.arange(12), camera), expected)
    assert (
        store.metadata["format"] == "bridge-raw"
        and store.metadata["domain"] == "real"
        and store.metadata["skipped"] == []
    )


def test_folders_are_found_by_raw_at_any_depth_in_natural_order(tmp_path, make_trajectory):
    folders = [
        f"{DATED}/raw/traj_group0/traj2",
        f"{DATED}/raw/traj_group0/traj10",
        f"{DATED}/raw/traj_group2/traj2000",
        f"{DATED}/raw/traj_group10/traj10000",
        "bridge_data_v2/toykitchen10/a/00/2023-01-02_03-04-05/raw/traj_group0/traj0",
        f"{FIRST_DAY}/raw/traj_group0/traj0",
        "scripted/pick/2022-03-03_00-00-00/raw/traj_group0/traj0",
    ]
    for i, folder in enumerate(folders):
        make_trajectory(tmp_path / folder, 2, seed=i, cameras=())
    names = [task.name for task in BridgeRawSource(tmp_path).tasks()]
    assert names == [folders[5], folders[0], folders[1], folders[2], folders[3], folders[4], folders[6]]


@pytest.mark.parametrize("inner", ["", "raw"])
def test_the_source_may_be_one_dated_folder_or_its_raw_folder(tmp_path, make_trajectory, inner):
    made = make_trajectory(tmp_path / OLD / "raw/traj_group0/traj0", 6)
    store = _import(tmp_path / OLD / inner, tmp_path / "store")
    assert np.array_equal(store.states, made.states[1:].astype(np.float32))  # the date is still seen


def test_a_folder_named_raw_above_the_tree_is_walked_into(tmp_path, make_trajectory):
    make_trajectory(tmp_path / "raw" / DATED / "raw/traj_group0/traj0", 2)
    assert find_collection_folders(tmp_path / "raw") == find_collection_folders(tmp_path) == [tmp_path / "raw" / DATED]


def test_before_2021_07_23_images_lag_one_step(tmp_path, make_trajectory):
    old = make_trajectory(tmp_path / "src" / OLD / "raw/traj_group0/traj0", 6, seed=1)
    new = make_trajectory(tmp_path / "src" / FIRST_DAY / "raw/traj_group0/traj0", 6, seed=2)
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.episode_ends.tolist() == [5, 11]
    # Observation t+1 is paired with action t: the first observation and the last action are dropped.
    assert np.array_equal(store.states[:5], old.states[1:].astype(np.float32))
    assert np.array_equal(store.actions[:4], old.actions[:4].astype(np.float32))
    assert np.array_equal(store.images([0])[0], images.squash_resize(images.decode(old.images[0][1]), 8))
    assert np.array_equal(store.states[5:], new.states.astype(np.float32))
    assert np.array_equal(store.actions[5:10], new.actions.astype(np.float32))


def test_a_folder_without_a_date_is_taken_as_new_and_said_so(tmp_path, make_trajectory, caplog):
    made = make_trajectory(tmp_path / "src/mine/raw/traj_group0/traj0", 4)
    make_trajectory(tmp_path / "src/mine/raw/traj_group0/traj1", 4, seed=1)
    store = _import(tmp_path / "src", tmp_path / "store")
    assert np.array_equal(store.states[:4], made.states.astype(np.float32))
    assert sum("is no date" in record.message for record in caplog.records) == 1


def test_plain_action_arrays_and_the_key_state_are_read(tmp_path, make_trajectory):
    root = tmp_path / "src" / DATED / "raw/traj_group0"
    made = [
        make_trajectory(root / "traj0", 4, as_dicts=False),
        make_trajectory(root / "traj1", 4, seed=1, state_key="state"),
    ]
    stacked = make_trajectory(root / "traj2", 4, seed=2)
    (root / "traj2/policy_out.pkl").write_bytes(pickle.dumps(stacked.actions))
    store = _import(tmp_path / "src", tmp_path / "store")
    for i, trajectory in enumerate([*made, stacked]):
        assert np.array_equal(store.actions[4 * i : 4 * i + 3], trajectory.actions.astype(np.float32))
        assert np.array_equal(store.states[4 * i : 4 * i + 4], trajectory.states.astype(np.float32))


def test_full_state_is_preferred_to_state(tmp_path, make_trajectory):
    made = make_trajectory(tmp_path / "src" / DATED / "raw/traj_group0/traj0", 3)
    (made.folder / "obs_dict.pkl").write_bytes(pickle.dumps({"state": made.states + 1, "full_state": made.states}))
    assert np.array_equal(_import(tmp_path / "src", tmp_path / "store").states, made.states.astype(np.float32))


def test_a_size_that_differs_between_cameras_or_episodes_is_fine(tmp_path, make_trajectory):
    root = tmp_path / "src" / DATED / "raw/traj_group0"
    make_trajectory(root / "traj0", 3)
    mixed = make_trajectory(root / "traj1", 3, size=(20, 30))
    (mixed.folder / "images1").mkdir()
    for t in range(3):
        (mixed.folder / f"images1/im_{t}.jpg").write_bytes(images.encode_jpeg(np.zeros((9, 10, 3), np.uint8)))
    store = _import(tmp_path / "src", tmp_path / "store")
    assert (
        store.num_episodes == 2 and store.cameras == (0, 1) and store.has_image(1).tolist() == [False] * 3 + [True] * 3
    )


def test_what_is_not_needed_is_not_read(tmp_path, make_trajectory):
    made = make_trajectory(tmp_path / "src" / DATED / "raw/traj_group0/traj0", 3)
    for file in ("agent_data.pkl", "reward_data.pkl"):
        (made.folder / file).write_bytes(pickle.dumps(_Touch(tmp_path / "executed")))
    for folder in ("depth_images0", "digit_images0", "images"):
        (made.folder / folder).mkdir()
        (made.folder / folder / "im_0.png").write_bytes(b"not read")
    make_trajectory(tmp_path / "src" / "lmdb_copy" / DATED / "raw/traj_group0/traj0", 3)
    (tmp_path / "src" / DATED / "raw/traj_group0/notes").mkdir()
    store = _import(tmp_path / "src", tmp_path / "store")
    assert store.num_episodes == 1 and store.cameras == (0,) and store.metadata["skipped"] == []
    assert not (tmp_path / "executed").exists()


class _Touch:
    """Pickles into a call that makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("file", ["obs_dict.pkl", "policy_out.pkl"])
def test_a_malicious_pickle_is_refused_and_its_episode_skipped(tmp_path, make_trajectory, file):
    root = tmp_path / "src" / DATED / "raw/traj_group0"
    bad = make_trajectory(root / "traj0", 3)
    make_trajectory(root / "traj1", 3)
    contents = pickle.loads((bad.folder / file).read_bytes())
    hidden = (
        {**contents, "x": _Touch(tmp_path / "executed")}
        if isinstance(contents, dict)
        else [*contents, _Touch(tmp_path / "executed")]
    )
    (bad.folder / file).write_bytes(pickle.dumps(hidden))
    store = _import(tmp_path / "src", tmp_path / "store")
    assert not (tmp_path / "executed").exists()
    assert store.num_episodes == 1
    assert (
        "refers to posix.mkdir; only arrays and plain containers are loaded"
        in _skips(store)[f"{DATED}/raw/traj_group0/traj0"]
    )


def test_the_domain_is_what_the_collection_says(tmp_path, make_trajectory):
    make_trajectory(tmp_path / "src" / DATED / "raw/traj_group0/traj0", 3)
    (tmp_path / "src" / DATED / "collection_metadata.json").write_text(json.dumps({"domain": "sim"}))
    assert _import(tmp_path / "src", tmp_path / "sim").metadata["domain"] == "sim"
    make_trajectory(tmp_path / "src" / FIRST_DAY / "raw/traj_group0/traj0", 3)
    with pytest.raises(ValueError, match=r"mixes the domains \['real', 'sim'\]"):
        _import(tmp_path / "src", tmp_path / "mixed")
    (tmp_path / "src" / FIRST_DAY / "collection_metadata.json").write_text(json.dumps({"domain": "moon"}))
    with pytest.raises(ValueError, match="collection_metadata.json.*'moon'"):
        _import(tmp_path / "src", tmp_path / "mixed")
    assert sorted(os.listdir(tmp_path)) == ["sim", "src"]


def test_no_usable_episode_is_an_error_that_leaves_nothing(tmp_path, make_trajectory):
    made = make_trajectory(tmp_path / "src" / DATED / "raw/traj_group0/traj0", 3)
    (made.folder / "obs_dict.pkl").unlink()
    with pytest.raises(ValueError, match=r"no usable episode.*1 skipped: .*traj0: obs_dict.pkl is missing"):
        _import(tmp_path / "src", tmp_path / "store")
    assert os.listdir(tmp_path) == ["src"]


def test_the_store_does_not_depend_on_the_number_of_workers(tmp_path, make_trajectory):
    for i in range(30):
        made = make_trajectory(tmp_path / "src" / DATED / f"raw/traj_group0/traj{i}", 2 + i % 4, seed=i)
        if i % 7 == 3:
            (made.folder / "policy_out.pkl").unlink()
    one, many = (_import(tmp_path / "src", tmp_path / f"store{n}", workers=n) for n in (1, 8))
    assert one.fingerprint == many.fingerprint and one.names == many.names
    assert one.metadata["skipped"] == many.metadata["skipped"] and len(one.metadata["skipped"]) == 4
