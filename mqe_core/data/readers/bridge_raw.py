"""Raw BridgeData trees, as the robot's own code writes them (bridge_data_robot `raw_saver.py`).

    <any depth>/<YYYY-MM-DD_HH-MM-SS>/           collection_metadata.json, config.json …
        raw/traj_group<k>/traj<i>/
            images<c>/im_<t>.jpg                 t = 0 … T-1
            obs_dict.pkl                         full_state (or state): (T, 7)
            policy_out.pkl                       T-1 dicts with `actions` (7,), or plain arrays
            lang.txt                             optional: annotations; lines with "confidence" are none

Folders are found by their `raw/`, not by their depth. Nothing else is read, neither depth images nor `agent_data.pkl`
nor `reward_data.pkl`.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from mqe_core import safe_pickle
from mqe_core.data.episode import Episode, Skipped
from mqe_core.data.readers import collection_metadata
from mqe_core.data.readers.collection_metadata import one_domain
from mqe_core.data.source import EpisodeTask, natural_key, no_camera
from mqe_core.data.source_files import Walk, why_of_no_format
from mqe_core.data.units import numbers_of, seven_columns
from mqe_core.files.bounded import read_bounded
from mqe_core.robot.arrays import Floats

log = logging.getLogger(__name__)

# Images recorded before this day lag one step behind the actions: observation t+1 is paired with action t
# (bridge_data_v2 `bridgedata_raw_to_numpy.py`).
LATENCY_FIXED = datetime(2021, 7, 23)
NO_LABEL = "confidence"  # a line of lang.txt with this word is no instruction
_FOLDER_DATE = "%Y-%m-%d_%H-%M-%S"
_GROUP = re.compile(r"traj_group\d+")
_TRAJECTORY = re.compile(r"traj\d+")
_CAMERA = re.compile(r"images(\d+)")
_IMAGE = re.compile(r"im_(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
_IMAGE_BYTES, _TEXT_BYTES = 2**28, 2**20  # at most
_PICTURES = {".jpg", ".jpeg", ".png"}
_IN_TRAJECTORY = re.compile(r"/raw/traj_group\d+/traj\d+/(.+)")
_FILES = {"obs_dict.pkl", "policy_out.pkl", "lang.txt"}
_UNUSED = {"agent_data.pkl", "reward_data.pkl"}  # of a trajectory
_ABOUT = {collection_metadata.FILE, "config.json", "diagnostics.png"}  # of a dated folder


class BridgeRawSource:
    """All trajectories below `root` (see the module's docstring for the layout)."""

    format = "bridge-raw"

    def __init__(self, root: Path, cameras: Sequence[str] = ()) -> None:
        """`cameras`: folders that hold the images of camera 0, 1 …, in place of `images<c>`."""
        self.root = root
        self._cameras = tuple(cameras)
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
            yield EpisodeTask(name, partial(load_trajectory, trajectory, name, shifts[folder], self._cameras))

    def why_not_read(self, file: Path) -> str | None:
        match = _IN_TRAJECTORY.search(file.absolute().as_posix())
        if match is None or "lmdb" in file.as_posix():
            is_about = file.name in _ABOUT or "lmdb" in file.as_posix()
            return (
                "about the data set, or a copy in another format" if is_about else why_of_no_format(file, self.format)
            )
        inside = match[1]
        folder, _, name = inside.rpartition("/")
        is_camera = folder in self._cameras if self._cameras else _CAMERA.fullmatch(folder) is not None
        if inside in _FILES or (is_camera and _IMAGE.fullmatch(name)):
            return None
        if inside in _UNUSED or folder.startswith("depth_images"):
            return "not used by an import"
        if is_camera or not folder:
            return why_of_no_format(file, self.format)
        return f"images of {folder}, no camera's key (--camera)"

    def domain(self) -> str:
        """The `domain` that collection_metadata.json states. The real robot's states none."""
        return one_domain({folder for _, folder in self._trajectories}, self.root)


def find_collection_folders(root: Path) -> list[Path]:
    """Folders at or below `root` that contain `raw/`, in natural order; `root` may be such a `raw/` itself.

    Paths with "lmdb" in them hold copies in another format and are left out, as in bridge_data_v2's
    converter.
    """
    if root.name == "raw" and _has_groups(root):
        return [root.parent]
    found = []
    for folder, subfolders, _ in Walk(root).folders():
        if "raw" in subfolders and _has_groups(folder / "raw"):
            found.append(folder)
            subfolders.remove("raw")
        subfolders[:] = [name for name in subfolders if "lmdb" not in name]
    return sorted(found, key=lambda path: natural_key(path.as_posix()))


def tree_around(path: Path) -> Path | None:
    """The dated folder that `path`, in or at one of its trajectories, lies in; None where it lies in none."""
    above = [path.absolute(), *path.absolute().parents]
    return next((folder.parent for folder in above if folder.name == "raw" and _has_groups(folder)), None)


def _has_groups(raw: Path) -> bool:
    try:
        return any(_GROUP.fullmatch(entry.name) for entry in raw.iterdir())
    except OSError:  # the account of the source names it
        return False


def load_trajectory(folder: Path, name: str, latency_shift: bool, asked: Sequence[str] = ()) -> Episode:
    """One `traj<i>` folder; `asked`: the cameras as for BridgeRawSource.

    ValueError, with the reason, where a file is missing or damaged, lengths do not fit, or no camera is to be used.
    """
    for file in ("obs_dict.pkl", "policy_out.pkl"):
        if not (folder / file).is_file():
            raise ValueError(f"{file} is missing")
    states, period_s = _read_states(folder / "obs_dict.pkl")
    actions = _read_actions(folder / "policy_out.pkl")
    cameras, lost, unused = _read_images(folder, len(states), asked)
    if latency_shift:
        states, actions = states[1:], actions[:-1]
        cameras = {camera: frames[1:] for camera, frames in cameras.items()}
    languages = _read_languages(folder / "lang.txt")
    return Episode(name, states, actions, cameras, languages, unused, lost_cameras=lost, period_s=period_s)


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
            folder,
            _FOLDER_DATE,
            LATENCY_FIXED.date(),
        )
        return False


def _read_states(file: Path) -> tuple[Floats, float | None]:
    """The states, and how many seconds lie between two of them; None where the file does not say."""
    observations = safe_pickle.load(file)
    if not isinstance(observations, dict):
        raise ValueError(f"{file.name}: expected a dict, got {type(observations).__name__}")
    for key in ("full_state", "state"):
        if key in observations:
            states = seven_columns(numbers_of(observations[key], f"{file.name} {key}"), f"{file.name} {key}")
            return states, _period_s(observations.get("time_stamp"))
    raise ValueError(f"{file.name}: expected full_state or state, got the keys {sorted(map(str, observations))}")


def _period_s(time_stamps: object) -> float | None:
    """The median step, s; None where there are no stamps, or some that stand still or run backwards."""
    try:
        steps = np.diff(np.asarray(time_stamps, dtype=np.float64))
    except (ValueError, TypeError):
        return None
    is_time = steps.ndim == 1 and len(steps) > 0 and bool((np.isfinite(steps) & (steps > 0)).all())
    return float(np.median(steps)) if is_time else None


def _read_actions(file: Path) -> Floats:
    outputs = safe_pickle.load(file)
    if not isinstance(outputs, (list, tuple, np.ndarray)):
        raise ValueError(f"{file.name}: expected a list of actions, got {type(outputs).__name__}")
    steps = [output["actions"] if isinstance(output, dict) and "actions" in output else output for output in outputs]
    if any(isinstance(step, dict) for step in steps):
        raise ValueError(f"{file.name}: a step has no key 'actions'")
    return seven_columns(numbers_of(steps, file.name), file.name)


def _read_images(
    folder: Path, num_states: int, asked: Sequence[str]
) -> tuple[dict[int, list[bytes]], dict[int, str], tuple[str, ...]]:
    """The images of each camera, why those are lost that lack some, and the folders with other images. ValueError
    where no camera is to be used, or none is left.
    """
    holding = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and _holds_images(entry))
    if missing := [name for name in asked if name not in holding]:
        there = ", ".join(holding) or "none"
        raise ValueError(f"no images under --camera {', '.join(missing)}; folders with images: {there}")
    by_camera = dict(enumerate(asked)) or {
        int(match[1]): entry.name for entry in folder.iterdir() if (match := _CAMERA.fullmatch(entry.name))
    }
    unused = tuple(name for name in holding if name not in by_camera.values() and not name.startswith("depth"))
    if unused and not by_camera:
        raise ValueError(no_camera(unused, "images<c>"))
    whole, lost = {}, {}
    for camera, name in by_camera.items():
        try:
            whole[camera] = _read_camera(folder / name, num_states)
        except ValueError as error:
            lost[camera] = str(error)
    if lost and not whole:
        raise ValueError(lost[min(lost)])
    return whole, lost, unused


def _holds_images(folder: Path) -> bool:
    return any(entry.suffix.lower() in _PICTURES for entry in folder.iterdir() if not entry.name.startswith("."))


def _read_camera(folder: Path, num_states: int) -> list[bytes]:
    files: dict[int, Path] = {}
    others = []
    for path in sorted(entry for entry in folder.iterdir() if not entry.name.startswith(".")):
        match = _IMAGE.fullmatch(path.name)
        if match is None:
            others.append(path.name)
        elif (first := files.setdefault(int(match[1]), path)) is not path:
            raise ValueError(f"{folder.name} holds two images of one frame, {first.name} and {path.name}")
    if len(files) != num_states:
        besides = f", and {len(others)} other files such as {others[0]}; im_<t>.jpg or .png are read" if others else ""
        raise ValueError(f"{folder.name} holds {len(files)} images for {num_states} states{besides}")
    missing = sorted(set(range(num_states)) - files.keys())
    if missing:
        raise ValueError(f"{folder.name}/im_{missing[0]}.jpg is missing")
    return [read_bounded(files[t], _IMAGE_BYTES) for t in range(num_states)]


def _read_languages(file: Path) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    lines = (line.strip() for line in _text(read_bounded(file, _TEXT_BYTES)).splitlines())
    return tuple(line for line in lines if line and NO_LABEL not in line)


def _text(content: bytes) -> str:
    """As UTF-8; as UTF-16 or UTF-32 where a mark or zero bytes tell; else as Latin-1, where each byte is a letter."""
    encoding = "utf-8-sig"
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        encoding = "utf-32"
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in content[:2]:
        encoding = "utf-16-be" if content.startswith(b"\0") else "utf-16-le"
    with contextlib.suppress(UnicodeDecodeError):
        return content.decode(encoding)
    return content.decode("latin-1")
