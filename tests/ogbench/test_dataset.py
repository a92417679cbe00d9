"""OGBench's files: what is read from them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.learning.rows.goal_sampling import TransitionIndex
from mqe_core.learning.run.tuned import known_datasets
from mqe_core.ogbench.dataset import OgbenchDataset, dataset_file
from mqe_core.ogbench.names import parse_name
from tests.ogbench.ogbench_files import make_arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("widths", [(2, 2), (29, 8), (40, 5)])
def test_what_is_read_is_what_was_written(tmp_path: Path, save, widths: tuple[int, int]) -> None:
    arrays = make_arrays(widths=widths)
    save(tmp_path / "a.npz", **arrays)
    dataset = OgbenchDataset.open(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.states, arrays["observations"])
    np.testing.assert_array_equal(dataset.actions, arrays["actions"])
    assert dataset.episode_ends.tolist() == [5, 8, 12] and dataset.num_episodes == 3 and dataset.num_frames == 12
    assert dataset.num_cameras == 0 and not dataset.has_image().any()


def test_stored_arrays_are_mapped_compressed_ones_read(tmp_path: Path) -> None:
    arrays = make_arrays()
    np.savez(tmp_path / "stored.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    stored, packed = (OgbenchDataset.open(tmp_path / f"{name}.npz") for name in ("stored", "packed"))
    assert isinstance(stored.states.base, np.memmap) and not isinstance(packed.states.base, np.memmap)
    assert stored.fingerprint == packed.fingerprint  # of the contents, not of how they are kept


def test_the_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    for seed in (0, 1):
        np.savez(tmp_path / f"{seed}.npz", **make_arrays(seed=seed))
    assert len({OgbenchDataset.open(tmp_path / f"{seed}.npz").fingerprint for seed in (0, 1)}) == 2


def test_the_rows_are_those_of_the_compact_form(tmp_path: Path) -> None:
    """Its terminals are 1 at the last two rows of a trajectory, valids 0 at the last: no goal is a last state."""
    arrays = make_arrays((5, 3, 4))
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = OgbenchDataset.open(tmp_path / "a.npz")
    valids = 1 - arrays["terminals"].astype(int)
    compact = np.minimum(arrays["terminals"] + np.append(arrays["terminals"][1:], True), 1)
    index = TransitionIndex(dataset.valid, dataset.episode_ends)
    np.testing.assert_array_equal(dataset.valid, valids == 1)
    np.testing.assert_array_equal(index.indices, np.flatnonzero(valids))
    ends = np.flatnonzero(compact)
    expected = ends[np.searchsorted(ends, index.indices)]  # the first terminal at or after each row
    np.testing.assert_array_equal(index.final[index.indices], expected)


def test_pixels(tmp_path: Path) -> None:
    arrays = make_arrays()
    arrays["observations"] = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = OgbenchDataset.open(tmp_path / "a.npz")
    assert dataset.cameras == (0,) and dataset.image_size == 8 and dataset.states.shape == (12, 0)
    np.testing.assert_array_equal(dataset.images(np.array([7, 2])), arrays["observations"][[7, 2]])
    with pytest.raises(ValueError, match="no images of camera 1"):
        dataset.images(np.array([0]), camera=1)


def _with(key: str, change) -> dict:
    arrays = make_arrays()
    arrays[key] = change(arrays[key].copy())
    return arrays


def _set(index, value):
    def change(array):
        array[index] = value
        return array

    return change


BAD = {
    "NaN in a state": (_with("observations", _set((7, 1), np.nan)), r"observations\[7, 1\] is nan"),
    "infinite state": (_with("observations", _set((0, 0), np.inf)), r"observations\[0, 0\] is inf"),
    "NaN in an action": (_with("actions", _set((3, 0), np.nan)), r"actions\[3, 0\] is nan"),
    "action above 1": (_with("actions", _set((11, 1), 1.01)), r"actions\[11, 1\] is 1.01"),
    "action below -1": (_with("actions", _set((0, 0), -7)), r"actions\[0, 0\] is -7"),
    "no end marked": (_with("terminals", np.zeros_like), "terminals is false everywhere"),
    "last end missing": (_with("terminals", _set(11, False)), r"terminals\[11\] is false: .* from row 8"),
    "trajectory of one row": (_with("terminals", _set(5, True)), r"terminals\[5\] ends a trajectory of one row"),
    "terminals of numbers": (_with("terminals", lambda a: a * 2.0), r"terminals\[4\] is 2.0"),
    "terminals two wide": (_with("terminals", lambda a: a[:, None]), r"terminals is bool \(12, 1\)"),
    "whole-number states": (_with("observations", lambda a: a.astype(int)), "observations is int64"),
    "bytes that are no images": (_with("observations", lambda a: a.astype(np.uint8)), "observations is uint8"),
    "images not square": (
        _with("observations", lambda a: np.zeros((12, 8, 9, 3), np.uint8)),
        r"observations is uint8 \(12, 8, 9, 3\)",
    ),
    "discrete actions": (_with("actions", lambda a: np.zeros(12, int)), "actions is int64 .* discrete"),
    "half-precision actions": (_with("actions", lambda a: a.astype(np.float16)), "actions is float16"),
    "fewer actions": (_with("actions", lambda a: a[:-1]), "actions has 11 rows, observations has 12"),
    "fewer positions": (_with("qpos", lambda a: a[:5]), "qpos has 5 rows"),
    "Python objects": (_with("actions", lambda a: a.astype(object)), "actions cannot be read: it holds Python objects"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_refused_with_key_and_index(tmp_path: Path, name: str) -> None:
    arrays, message = BAD[name]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        OgbenchDataset.open(tmp_path / "bad.npz")
    assert str(tmp_path / "bad.npz") in str(error.value)


@pytest.mark.parametrize("key", ["observations", "actions", "terminals"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    arrays = make_arrays()
    del arrays[key]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=f"has no {key}"):
        OgbenchDataset.open(tmp_path / "bad.npz")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_what_is_no_whole_file_is_refused(maze_file: Path, part: float) -> None:
    content = maze_file.read_bytes()
    maze_file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="cannot be read as an .npz file"):
        OgbenchDataset.open(maze_file)


def test_a_name_is_taken_apart() -> None:
    name = parse_name("visual-antmaze-giant-stitch-v0")
    assert (name.scene, name.kind, name.environment) == ("visual-antmaze-giant", "stitch", "visual-antmaze-giant-v0")
    assert name.pixels and not name.maze and parse_name("puzzle-4x4-noisy-v0").kind == "noisy"
    assert all(parse_name(text).text == text for text in known_datasets())


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("pointmaze-giant-stich-v0", "pointmaze-giant-stitch-v0"),
        ("cube-singel-play-v0", "cube-single-play-v0"),
    ],
)
def test_an_unknown_name_lists_near_ones(text: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"no data set .*{near}"):
        parse_name(text)


def test_where_the_file_is_looked_for(maze_file: Path, tmp_path: Path) -> None:
    name = parse_name("pointmaze-medium-stitch-v0")
    assert dataset_file(name, maze_file) == maze_file == dataset_file(name, tmp_path)
    with pytest.raises(ValueError, match="mqe ogbench generate pointmaze-giant-stitch-v0"):
        dataset_file(parse_name("pointmaze-giant-stitch-v0"), tmp_path)
    with pytest.raises(ValueError, match="named as the data of pointmaze-medium-stitch-v0"):
        dataset_file(parse_name("pointmaze-giant-stitch-v0"), maze_file)
    with pytest.raises(ValueError, match=r"no data set at \S*nowhere.npz:"):
        dataset_file(name, tmp_path / "nowhere.npz")
