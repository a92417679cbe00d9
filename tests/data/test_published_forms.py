"""The forms that BridgeData is published in, each on files by another writer (tests/data/fixtures/README.md)."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.data.importer import import_episodes, open_source
from mqe_core.data.store.episode_store import EpisodeStore

FIXTURES = Path(__file__).parent / "fixtures"


def numbers(seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """States and actions of an episode, as the fixtures' scripts draw them."""
    rng = np.random.default_rng(seed)
    middle, half = [0.3, 0, 0.1, 0, 0, 0, 0.5], [0.1, 0.15, 0.05, 0.3, 0.3, 1, 0.5]
    states = np.array(middle) + rng.uniform(-1, 1, (steps, 7)) * half
    actions = [0, 0, 0, 0, 0, 0, 0.5] + rng.uniform(-1, 1, (steps, 7)) * [0.03, 0.03, 0.03, 0.1, 0.1, 0.2, 0.5]
    return states.astype(np.float32), actions.astype(np.float32)


def read(form: str, out: Path) -> EpisodeStore:
    return import_episodes(open_source(FIXTURES / form), out, source_name=form)


@pytest.mark.parametrize(
    ("form", "format", "size", "cameras", "of_val", "steps"),
    [
        ("tfds/bridge", "rlds", 32, (0,), 2, 4),
        ("tfds/bridge_dataset", "rlds", 32, (0,), 12, 4),
        ("bridge_tfrecord", "rlds", 16, (0,), 22, 5),
        ("bridge_numpy", "bridge-numpy", 16, (0, 1), 32, 4),
    ],
)
def test_each_form_is_recognised_and_read_whole(form, format, size, cameras, of_val, steps, tmp_path) -> None:
    store = read(form, tmp_path / "store")
    assert (store.metadata["format"], store.image_size, store.cameras) == (format, size, cameras)
    assert store.num_episodes == 3 and store.metadata["skipped"] == []
    validation = "test" if form == "tfds/bridge" else "val"
    assert sorted(store.splits) == sorted([validation, "train", "train"])
    left = {of_val - 2, of_val - 1, of_val}
    for number in range(3):
        episode = store.encoded_episode(number)
        (k,) = [k for k in left if np.array_equal(numbers(k, steps)[0], episode.states)]
        left.remove(k)
        actions = numbers(k, steps)[1][:-1]
        if form == "tfds/bridge":
            actions[:, 6] = [0, 1, 0]  # open_gripper
        np.testing.assert_array_equal(episode.actions, actions)
        assert (store.splits[number] == validation) == (k == of_val)
        texts = {"bridge_tfrecord": (f"task {k}", f"task {k} again")}.get(form, (f"task {k}",))
        assert episode.languages == (() if (form, k) == ("bridge_numpy", 32) else texts)
        assert len(episode.images[0]) == steps


@pytest.mark.parametrize("form", ["tfds/bridge", "bridge_tfrecord", "bridge_numpy", "lerobot_v21"])
def test_an_episode_can_be_loaded_in_another_process(form) -> None:
    """Its task goes there as a pickle, where an import has processes for workers."""
    tasks = list(open_source(FIXTURES / form).tasks())
    for task in tasks:
        found, wanted = pickle.loads(pickle.dumps(task)).load(), task.load()
        np.testing.assert_array_equal(found.states, wanted.states)
        np.testing.assert_array_equal(found.actions, wanted.actions)
        assert found.images.keys() == wanted.images.keys() and len(tasks) > 1
        for camera, frames in wanted.images.items():
            assert [np.array_equal(a, b) for a, b in zip(found.images[camera], frames)] == [True] * len(wanted.states)


def test_pictures_of_a_numpy_file_stay_as_they_are(tmp_path) -> None:
    store = read("bridge_numpy", tmp_path / "store")
    rng = np.random.default_rng(130)
    expected = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1) for _ in range(4)]
    np.testing.assert_array_equal(store.images(np.arange(4)), expected)
    assert store.has_image(1)[store.episode_starts].tolist() == [True, False, True]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-300])


def _saved(file: Path, array: object) -> None:
    np.save(file, array)


def _sends_code(file: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1/0",)

    np.save(file, np.array([Evil(), None], dtype=object), allow_pickle=True)


def _changed(file: Path, change) -> None:
    trajectories = np.load(file, allow_pickle=True)
    change(trajectories[0])
    np.save(file, trajectories)


@pytest.mark.parametrize(
    ("damage", "reason", "lost"),
    [
        (_cut, "not loaded", 2),
        (lambda file: file.write_bytes(b""), "no NumPy file", None),
        (lambda file: file.write_bytes(b"\x93NUMPY\x01\x00"), "no NumPy file", None),
        (lambda file: _saved(file, np.zeros((3, 4))), "expected one of trajectories", None),
        (_sends_code, "refers to", 2),
        (lambda file: _saved(file, np.array([1, {"a": 2}], dtype=object)), "expected a dict, got int", 1),
        (lambda file: _changed(file, lambda t: t.pop("actions")), "no key actions", 1),
        (lambda file: _changed(file, lambda t: t["observations"].pop()), "2 observations and 3 next ones", 1),
        (lambda file: _changed(file, lambda t: t["actions"].__setitem__(1, [np.nan] * 7)), "not finite", 1),
        (lambda file: _changed(file, lambda t: t["observations"][1].pop("state")), "no key state", 1),
        (lambda file: _changed(file, lambda t: t.update(actions=[[0.0] * 6] * 3)), "actions of size 7", 1),
        (lambda file: _changed(file, lambda t: t.update(actions=[[0.0] * 7, [0.0] * 6] * 2)), "not a numeric array", 1),
        (lambda file: _changed(file, lambda t: t.update(actions=["open"] * 3)), "not a numeric array", 1),
        (lambda file: _changed(file, lambda t: t["actions"].pop()), "expected 3 actions", 1),
        (
            lambda file: _changed(file, lambda t: t["observations"][1].update(images0=np.zeros((9, 16, 3), np.uint8))),
            "image is 16x9 pixels, the episode's first is 16x16",
            1,
        ),
        (
            lambda file: _changed(file, lambda t: t["next_observations"].reverse()),
            "is not the state of step",
            1,
        ),
    ],
)
def test_a_damaged_numpy_file_costs_what_it_must_and_is_named(damage, reason, lost, tmp_path) -> None:
    shutil.copytree(FIXTURES / "bridge_numpy", tmp_path / "src")
    damage(tmp_path / "src" / "some_task" / "train" / "out.npy")
    store = import_episodes(open_source(tmp_path / "src"), tmp_path / "store", source_name="src")
    first = store.metadata["skipped"][0]
    assert reason in first["reason"] and first["episodes"] == lost
    assert store.num_episodes >= 1


def test_a_camera_that_vanishes_midway_costs_that_camera_of_that_episode(tmp_path, caplog) -> None:
    shutil.copytree(FIXTURES / "bridge_numpy", tmp_path / "src")
    _changed(tmp_path / "src" / "some_task" / "train" / "out.npy", lambda t: t["next_observations"][-1].pop("images1"))
    store = import_episodes(open_source(tmp_path / "src"), tmp_path / "store", source_name="src")
    assert store.num_episodes == 3 and store.metadata["lost_cameras"] == {"1": 1}
    assert store.has_image(1)[store.episode_starts].tolist() == [False, False, True]
    assert "without camera 1: camera 1 has 3 images for 4 states" in caplog.text


def test_a_record_of_another_converter_says_which(tmp_path, tfrecord_maker) -> None:
    record = tfrecord_maker.record(tfrecord_maker.example({"obs/state": [b"x"], "actions": [b"x"]}))
    (tmp_path / "a.tfrecord").write_bytes(record)
    with pytest.raises(ValueError, match="dlimp's converter.*import the raw tree"):
        import_episodes(open_source(tmp_path), tmp_path / "store", source_name="a")


@pytest.mark.parametrize("key", ["observations/state", "actions", "observations/images0"])
@pytest.mark.parametrize("value", [b"", b"\xff" * 9, pickle.dumps(1)])
def test_a_tensor_that_is_none_is_named(key, value, tmp_path, tfrecord_maker) -> None:
    from mqe_core.data.readers.tfrecord import parse_example, read_records

    (record,) = read_records(FIXTURES / "bridge_tfrecord" / "some_task" / "val" / "out.tfrecord")
    features = parse_example(record) | {key: [value]}
    (tmp_path / "a.tfrecord").write_bytes(tfrecord_maker.record(tfrecord_maker.example(features)))
    with pytest.raises(ValueError, match=f"no usable episode.*{key}"):
        import_episodes(open_source(tmp_path), tmp_path / "store", source_name="a")


def test_only_one_split_or_one_camera_is_imported_where_asked(tmp_path, capsys) -> None:
    source = str(FIXTURES / "bridge_numpy")
    assert main(["data", "import", source, "--out", str(tmp_path / "val"), "--split", "val"]) == 0
    assert "val (1 episodes)" in capsys.readouterr().out
    assert main(["data", "import", source, "--out", str(tmp_path / "one"), "--cameras", "1"]) == 0
    store = EpisodeStore.open(tmp_path / "one")
    assert store.cameras == (1,) and store.num_episodes == 2
    assert "none of the cameras [1]" in store.metadata["skipped"][0]["reason"]
    assert main(["data", "import", source, "--out", str(tmp_path / "key"), "--cameras", "images1"]) == 0
    assert EpisodeStore.open(tmp_path / "key").cameras == (0,)
    assert main(["data", "import", source, "--out", str(tmp_path / "bad"), "--cameras", "0,images1"]) != 0
    assert "expected numbers such as 0,2" in capsys.readouterr().err
