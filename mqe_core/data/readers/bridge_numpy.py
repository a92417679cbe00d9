"""bridge_data_v2's numpy form: `…/train/out.npy` and `…/val/out.npy`, each an object array of trajectories.

A trajectory is a dict: `observations` and `next_observations` (L dicts of `images<c>` (H, W, 3) uint8 and `state`
(7,)), `actions` (L, 7), `language` (list of lines, [""] where there is none), `terminals` (unused).

Such a file is one pickle. Its pictures stay in the file until their episode is loaded. Only arrays and plain containers
are loaded from it.

Source: bridge_data_v2, `data_processing/bridgedata_raw_to_numpy.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.readers import lazy_pickle
from mqe_core.data.readers.transitions import folder_split, from_transitions
from mqe_core.data.source import EpisodeTask, natural_key, no_camera
from mqe_core.data.source_files import Walk, below, same_files, why_of_no_format
from mqe_core.data.units import numbers_of
from mqe_core.policy.domain import REAL
from mqe_core.robot.arrays import AnyArray, Images

_FILE = "out.npy"
_CAMERA = re.compile(r"images(\d+)")


class BridgeNumpySource:
    """All `out.npy` at or below `root`."""

    format = "bridge-numpy"

    def __init__(self, root: Path, cameras: Sequence[str] = ()) -> None:
        """`cameras`: keys of an observation that hold the images of camera 0, 1 …, in place of `images<c>`."""
        self.root = root
        self._cameras = tuple(cameras)
        found = [path for path in Walk(root).files() if path.name == _FILE]
        self._files = sorted(found, key=lambda path: natural_key(path.as_posix()))
        self._copies = same_files(self._files)

    def is_empty(self) -> bool:
        return not self._files

    def num_episodes(self) -> int | None:
        total = 0
        for file in self._files:
            try:
                total += 0 if file in self._copies else _read_header(file)[0]
            except (ValueError, OSError):
                return None
        return total

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        for file in self._files:
            name = below(self.root, file)
            if file in self._copies:
                yield Skipped(name, f"the same bytes as {below(self.root, self._copies[file])}", 0)
                continue
            try:
                trajectories = _read(file)
            except (ValueError, OSError) as error:
                yield Skipped(name, str(error), _stated_number(file))
                continue
            for index, trajectory in enumerate(trajectories):
                each = f"{name}#{index}"
                yield EpisodeTask(each, partial(self._load, file, trajectory, each))

    def _load(self, file: Path, trajectory: Any, name: str) -> Episode:
        return parse_trajectory(lazy_pickle.materialise(trajectory, file), name, self._cameras, folder_split(file))

    def why_not_read(self, file: Path) -> str | None:
        if file in self._copies:
            return "the same bytes as a file that was read"
        return None if file.name == _FILE else why_of_no_format(file, self.format)

    def domain(self) -> str:
        return REAL


def parse_trajectory(trajectory: Any, name: str, cameras: Sequence[str] = (), split: str = "") -> Episode:
    """One trajectory as an Episode; `cameras` as for BridgeNumpySource. ValueError where a part is missing or unfit."""
    if not isinstance(trajectory, dict):
        raise ValueError(f"expected a dict, got {type(trajectory).__name__}")
    observations, following = (_steps(trajectory, key) for key in ("observations", "next_observations"))
    if not observations or len(observations) != len(following):
        raise ValueError(
            f"{len(observations)} observations and {len(following)} next ones; expected as many, at least 1"
        )
    frames = [*observations, following[-1]]
    holding = sorted({key for frame in frames for key in frame if _is_picture(frame[key])})
    keys = dict(enumerate(cameras)) or {int(match[1]): key for key in holding if (match := _CAMERA.fullmatch(key))}
    if missing := [key for key in keys.values() if key not in holding]:
        there = ", ".join(holding) or "none"
        raise ValueError(f"no images under --camera {', '.join(missing)}; keys with images: {there}")
    unused = tuple(key for key in holding if key not in keys.values())
    if unused and not keys:
        raise ValueError(no_camera(unused, "images<c>"))
    images: dict[int, list[bytes | Images]] = {
        camera: [frame[key] for frame in frames if _is_picture(frame.get(key))] for camera, key in keys.items()
    }
    language = trajectory.get("language") or ()
    lines = [language] if isinstance(language, str) else [line for line in language if isinstance(line, str)]
    states, next_states = _rows(observations, "state"), _rows(following, "state")
    if "actions" not in trajectory:
        raise ValueError("no key actions")
    actions = numbers_of(trajectory["actions"], "actions")
    return from_transitions(name, states, next_states, actions, images, lines, unused_cameras=unused, split=split)


def _steps(trajectory: dict[Any, Any], key: str) -> list[dict[str, Any]]:
    steps = trajectory.get(key)
    if not isinstance(steps, (list, tuple, np.ndarray)) or not all(isinstance(step, dict) for step in steps):
        raise ValueError(f"expected {key} to be a list of dicts, got {type(steps).__name__}")
    return [{str(name): value for name, value in step.items()} for step in steps]


def _rows(steps: list[dict[str, Any]], key: str) -> AnyArray:
    if any(key not in step for step in steps):
        raise ValueError(f"an observation has no key {key}")
    return numbers_of([step[key] for step in steps], key)


def _is_picture(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8


def _read_header(file: Path) -> tuple[int, int]:
    """How many trajectories, and at which byte they begin. ValueError where it is no such file."""
    with file.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]  # NumPy has no types for it
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(stream)  # type: ignore[no-untyped-call]  # nor for this
        except ValueError as error:
            raise ValueError(f"no NumPy file: {error}") from error
        if dtype.kind != "O" or len(shape) != 1:
            raise ValueError(f"an array of {dtype} {shape}; expected one of trajectories: what bridge_data_v2 saves")
        return shape[0], stream.tell()


def _stated_number(file: Path) -> int | None:
    try:
        return _read_header(file)[0]
    except (ValueError, OSError):
        return None


def _read(file: Path) -> list[Any]:
    count, begin = _read_header(file)
    array = lazy_pickle.load(file, begin)
    if not isinstance(array, np.ndarray) or array.shape != (count,):
        raise ValueError(f"expected {count} trajectories, got {type(array).__name__}")
    return list(array)
