"""Promise: of a large pickle only what is asked for is in memory, and it is what the usual unpickler gives."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.readers import lazy_pickle
from mqe_core.data.readers.bridge_numpy import BridgeNumpySource


def trajectories(count: int, size: int = 64) -> np.ndarray:
    """As bridge_data_v2 saves them: a picture stands in two steps."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(count):
        frames = rng.integers(0, 256, (6, size, size, 3), dtype=np.uint8)
        seen = [{"images0": frame, "state": np.full(7, 0.1 * t)} for t, frame in enumerate(frames)]
        made.append(
            {
                "observations": seen[:-1],
                "next_observations": seen[1:],
                "actions": [np.zeros(7)] * 5,
                "terminals": [0] * 5,
                "language": [f"task {k}"],
            }
        )
    return np.array(made, dtype=object)


def same(found: object, wanted: object) -> None:
    """Also in its types."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            same(one, other)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        if wanted.dtype == object:
            same(found.tolist(), wanted.tolist())
        else:
            np.testing.assert_array_equal(found, wanted)
    else:
        assert found == wanted


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_asked_for_is_what_the_usual_unpickler_gives(protocol: int, tmp_path: Path) -> None:
    large = np.arange(6000, dtype=np.float64).reshape(60, 100)
    content = {
        "trajectory": trajectories(1)[0],
        "by columns": np.asfortranarray(large),
        "a part": large[::2, 3:7],
        "small": np.arange(3),
        "number": np.float32(3),
        "bytes": bytes(5000),
        "a changeable one": bytearray(5000),
        "objects": np.array([{"a": large}, None, "x"], dtype=object),
        "twice": (large, large),
    }
    file = tmp_path / "a"
    file.write_bytes(b"before" + pickle.dumps(content, protocol=protocol))
    loaded = lazy_pickle.load(file, 6)
    found = lazy_pickle.materialise(loaded, file)
    in_another_process = lazy_pickle.materialise(pickle.loads(pickle.dumps(loaded)), file)
    same(in_another_process, content)
    same(found, content)
    assert found["twice"][0] is found["twice"][1]


def test_memory_holds_one_trajectory_and_not_the_file(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    file = tmp_path / "task" / "out.npy"
    np.save(file, trajectories(60, size=96), allow_pickle=True)
    whole = file.stat().st_size
    tracemalloc.start()
    try:
        tasks = list(BridgeNumpySource(tmp_path).tasks())
        episode = tasks[59].load()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tasks) == 60 and peak < whole / 4, (peak, whole)
    np.testing.assert_array_equal(episode.images[0], [*_pictures(file)])


def _pictures(file: Path) -> list[np.ndarray]:
    last = np.load(file, allow_pickle=True)[59]
    return [step["images0"] for step in last["observations"]] + [last["next_observations"][-1]["images0"]]


def test_random_damage_is_an_error_of_one_kind_or_none(tmp_path: Path) -> None:
    whole, rng = pickle.dumps(trajectories(2, size=24), protocol=3), np.random.default_rng(0)
    file, refused = tmp_path / "a", 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3) if rng.random() < 0.5 else rng.integers(0, 400, 2):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged if rng.random() < 0.8 else damaged[: rng.integers(1, len(whole))])
        try:
            found = lazy_pickle.load(file, 0)
            for each in found if isinstance(found, np.ndarray) and found.dtype == object else [found]:
                lazy_pickle.materialise(each, file)
        except ValueError:
            refused += 1
    assert refused > 30


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(pickle.dumps([np.zeros(5000)]))
    found = lazy_pickle.load(file, 0)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="the file has changed since it was opened"):
        lazy_pickle.materialise(found, file)
