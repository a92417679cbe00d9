"""Raw BridgeData trees, as the robot's own code writes them (bridge_data_robot `raw_saver.py`).

    <any depth>/<YYYY-MM-DD_HH-MM-SS>/           collection_metadata.json, config.json …
        raw/traj_group<k>/traj<i>/
            images<c>/im_<t>.jpg                 t = 0 … T-1
            obs_dict.pkl                         full_state (or state): (T, 7)
            policy_out.pkl                       T-1 dicts with `actions` (7,), or plain arrays
            lang.txt                             optional: annotations; lines with "confidence" are none

Folders are found by their `raw/`, not by their depth. Nothing else is read: depth images, `agent_data.pkl`,
`reward_data.pkl` stay untouched.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from mqe_core import safe_pickle
from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.source import EpisodeTask, natural_key

log = logging.getLogger(__name__)

# Images recorded before this day lag one step behind the actions: observation t+1 is paired with action t
# (bridge_data_v2 `bridgedata_raw_to_numpy.py`).
LATENCY_FIXED = datetime(2021, 7, 23)
_FOLDER_DATE = "%Y-%m-%d_%H-%M-%S"
_GROUP = re.compile(r"traj_group\d+")
_TRAJECTORY = re.compile(r"traj\d+")
_CAMERA = re.compile(r"images(\d+)")
_IMAGE = re.compile(r"im_(\d+)\.(?:jpg|jpeg|png)")


class BridgeRawSource:
    """All trajectories below `root` (see the module's docstring for the layout)."""

    format = "bridge-raw"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trajectories = [
            (trajectory, folder)
            for folder in find_collection_folders(root)
            for trajectory in _find_trajectories(folder)
        ]

    def is_empty(self) -> bool:
        return not self._trajectories

    def num_episodes(self) -> int:
        return len(self._trajectories)

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        folders = dict.fromkeys(folder for _, folder in self._trajectories)
        shifts = {folder: _needs_latency_shift(folder) for folder in folders}
        for trajectory, folder in self._trajectories:
            name = trajectory.relative_to(self.root).as_posix() if trajectory != self.root else trajectory.name
            yield EpisodeTask(name, partial(load_trajectory, trajectory, name, shifts[folder]))

    def domain(self) -> str:
        """The `domain` that collection_metadata.json states; the real robot's states none: "real"."""
        domains = {_folder_domain(folder) for folder in {folder for _, folder in self._trajectories}}
        if len(domains) > 1:
            raise ValueError(f"{self.root} mixes the domains {sorted(domains)}; import them into stores of their own")
        return domains.pop() if domains else "real"


def find_collection_folders(root: Path) -> list[Path]:
    """Folders at or below `root` that contain `raw/`, in natural order; `root` may be such a `raw/` itself.

    Paths with "lmdb" in them hold copies in another format and are left out, as in bridge_data_v2's
    converter.
    """
    if root.name == "raw" and _has_groups(root):
        return [root.parent]
    found = []
    for folder, subfolders, _ in os.walk(root):
        if "raw" in subfolders and _has_groups(Path(folder, "raw")):
            found.append(Path(folder))
            subfolders.remove("raw")
        subfolders[:] = [name for name in subfolders if "lmdb" not in name]
    return sorted(found, key=lambda path: natural_key(path.as_posix()))


def _has_groups(raw: Path) -> bool:
    return any(_GROUP.fullmatch(entry.name) for entry in raw.iterdir())


def load_trajectory(folder: Path, name: str, latency_shift: bool) -> Episode:
    """One `traj<i>` folder.

    Raises ValueError with the reason where a file is missing or damaged, or lengths do not fit.
    """
    for file in ("obs_dict.pkl", "policy_out.pkl"):
        if not (folder / file).is_file():
            raise ValueError(f"{file} is missing")
    states = _read_states(folder / "obs_dict.pkl")
    actions = _read_actions(folder / "policy_out.pkl")
    cameras = _read_images(folder, len(states))
    if latency_shift:
        states, actions = states[1:], actions[:-1]
        cameras = {camera: frames[1:] for camera, frames in cameras.items()}
    return Episode(name, states, actions, cameras, _read_languages(folder / "lang.txt"))


def _find_trajectories(folder: Path) -> list[Path]:
    groups = [group for group in (folder / "raw").iterdir() if group.is_dir() and _GROUP.fullmatch(group.name)]
    trajectories = [
        path for group in groups for path in group.iterdir() if path.is_dir() and _TRAJECTORY.fullmatch(path.name)
    ]
    return sorted(trajectories, key=lambda path: natural_key(path.as_posix()))


def _needs_latency_shift(folder: Path) -> bool:
    name = folder.absolute().name
    try:
        return datetime.strptime(name, _FOLDER_DATE) < LATENCY_FIXED
    except ValueError:
        log.warning(
            "%s: the folder's name is no date (%s): images count as in step with actions, as since %s",
            folder, _FOLDER_DATE, LATENCY_FIXED.date(),
        )  # fmt: skip
        return False


def _folder_domain(folder: Path) -> str:
    file = folder / "collection_metadata.json"
    if not file.is_file():
        return "real"
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not readable as JSON: {error}") from error
    domain = metadata.get("domain", "real") if isinstance(metadata, dict) else "real"
    if domain not in ("real", "sim"):
        raise ValueError(f'{file}: expected "domain" to be "real" or "sim", got {domain!r}')
    return domain


def _read_states(file: Path) -> np.ndarray:
    observations = safe_pickle.load(file)
    if not isinstance(observations, dict):
        raise ValueError(f"{file.name}: expected a dict, got {type(observations).__name__}")
    for key in ("full_state", "state"):
        if key in observations:
            return _as_array(observations[key], f"{file.name} {key}")
    raise ValueError(f"{file.name}: expected full_state or state, got the keys {sorted(map(str, observations))}")


def _read_actions(file: Path) -> np.ndarray:
    outputs = safe_pickle.load(file)
    if not isinstance(outputs, (list, tuple, np.ndarray)):
        raise ValueError(f"{file.name}: expected a list of actions, got {type(outputs).__name__}")
    steps = [output["actions"] if isinstance(output, dict) and "actions" in output else output for output in outputs]
    if any(isinstance(step, dict) for step in steps):
        raise ValueError(f"{file.name}: a step has no key 'actions'")
    return _as_array(steps, file.name)


def _as_array(values: object, what: str) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{what}: not a numeric array: {error}") from error


def _read_images(folder: Path, num_states: int) -> dict[int, list[bytes]]:
    cameras = {}
    for entry in folder.iterdir():
        match = _CAMERA.fullmatch(entry.name)  # not depth_images<c>
        if match and entry.is_dir():
            cameras[int(match[1])] = _read_camera(entry, num_states)
    return cameras


def _read_camera(folder: Path, num_states: int) -> list[bytes]:
    files = {int(match[1]): path for path in folder.iterdir() if (match := _IMAGE.fullmatch(path.name))}
    if len(files) != num_states:
        raise ValueError(f"{folder.name} holds {len(files)} images for {num_states} states")
    missing = sorted(set(range(num_states)) - files.keys())
    if missing:
        raise ValueError(f"{folder.name}/im_{missing[0]}.jpg is missing")
    return [files[t].read_bytes() for t in range(num_states)]


def _read_languages(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return tuple(line for line in lines if line and "confidence" not in line)
