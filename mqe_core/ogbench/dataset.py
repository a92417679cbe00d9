"""OGBench's data files as frames to learn from.

A file `NAME.npz` holds whole trajectories one after the other. Each of N rows has

    observations  (N, S) float32, or (N, H, H, 3) uint8
    actions       (N, A) float32 in [-1, 1]
    terminals     (N,) bool: the last row of a trajectory
    qpos, qvel, button_states  (N, ...), optional; learning does not use them

The last observation of a trajectory has no successor, so its row is no transition and can only be a next observation:
what OGBench calls the compact form. Which frames can be goals follows from that in
:class:`mqe_core.learning.rows.goal_sampling.TransitionIndex`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mqe_core.learning.run.tuned import known_datasets
from mqe_core.ogbench.names import DatasetName
from mqe_core.ogbench.npz_arrays import contents_hash_parts, read_arrays
from mqe_core.robot.arrays import AnyArray, Bools, Float32s, Images, Ints

DEFAULT_FOLDER = Path("~/.ogbench/data")  # where the package keeps what it has downloaded
OPTIONAL = ("qpos", "qvel", "button_states")
ACTION_ROUNDING = 1e-6  # actions were clipped to +-1 before they became float32
_CHUNK = 1 << 16  # rows that are checked at a go


class OgbenchDataset:
    """Read access to one file; make one with `OgbenchDataset.open`. It is what learning calls `Frames`."""

    def __init__(self, path: Path, arrays: dict[str, AnyArray]) -> None:
        self.path = path
        observations = arrays["observations"]
        self._pixels: Images | None = observations if observations.ndim == 4 else None  # (N, H, H, 3)
        states = np.empty((len(observations), 0)) if observations.ndim == 4 else observations
        self.states: Float32s = states.astype(np.float32, copy=False)  # (N, S)
        self.actions: Float32s = arrays["actions"].astype(np.float32, copy=False)  # (N, A)
        terminals = arrays["terminals"].astype(bool)
        self.valid: Bools = ~terminals  # (N,) the frame has an action and a successor
        self.operated: Bools = np.zeros(len(terminals), dtype=bool)  # (N,)
        self.episode_ends: Ints = np.flatnonzero(terminals) + 1  # (E,) exclusive
        self.names = [f"trajectory {number}" for number in range(len(self.episode_ends))]
        self.cameras: tuple[int, ...] = () if self._pixels is None else (0,)
        self.metadata = {"kind": "ogbench", "file": path.name}
        parts = contents_hash_parts(path)
        self.fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()

    @classmethod
    def open(cls, path: str | Path) -> OgbenchDataset:
        """Open and check a file; ValueError names file, key, row and what was expected."""
        path = Path(path)
        arrays = read_arrays(path, ("observations", "actions", "terminals"), OPTIONAL)
        _check_kinds(path, arrays)
        _check_terminals(path, arrays["terminals"])
        for key in ("observations", "actions"):
            _check_values(path, key, arrays[key])
        return cls(path, arrays)

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        """N, over all trajectories."""
        return len(self.actions)

    @property
    def num_cameras(self) -> int:
        """One, or none."""
        return len(self.cameras)

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels; 0 where there are none."""
        return 0 if self._pixels is None else self._pixels.shape[1]

    def has_image(self, camera: int = 0) -> Bools:
        """(N,): all frames, or none."""
        return np.full(self.num_frames, camera in self.cameras)

    def images(self, indices: Ints, camera: int = 0) -> Images:
        """Images of the frames `indices` (n,) → `(n, H, H, 3) uint8`; ValueError where there are none."""
        if self._pixels is None or camera not in self.cameras:
            raise ValueError(f"{self.path} has no images of camera {camera}: its cameras are {list(self.cameras)}")
        return self._pixels[indices]


def dataset_file(name: DatasetName, place: Path | None) -> Path:
    """The file of a data set: `place` where that is a file, else in the folder `place`, or in the package's own.

    ValueError where there is none, with the ways to get it, and where a file has another data set's name. Nothing is
    downloaded.
    """
    if place is not None and place.is_file():
        its = place.name.removesuffix(".npz").removesuffix("-val")
        if its in known_datasets() and its != name.text:
            raise ValueError(f"{place} is named as the data of {its}, not of {name.text}: give that name with --env")
        return place
    folder = (place or DEFAULT_FOLDER).expanduser()
    file = folder if folder.suffix == ".npz" else folder / f"{name.text}.npz"
    if not file.is_file():
        raise ValueError(
            f"no data set at {file}: name its file or folder with --dataset, make it with `mqe ogbench generate "
            f"{name.text} --out FOLDER` (mazes of the point, cube, scene, puzzle), or download it as OGBench describes"
        )
    return file


def _refused(path: Path, key: str, what: str) -> ValueError:
    return ValueError(f"{path}: {key}{what}")


def _check_kinds(path: Path, arrays: dict[str, AnyArray]) -> None:
    """Types, shapes and lengths."""
    observations, actions, terminals = (arrays[key] for key in ("observations", "actions", "terminals"))
    states = observations.ndim == 2 and observations.dtype in (np.float32, np.float64) and observations.shape[1] > 0
    square = observations.ndim == 4 and observations.shape[1] == observations.shape[2] and observations.shape[3] == 3
    if not states and not (square and observations.dtype == np.uint8):
        expected = "float32 (N, S), or uint8 (N, H, H, 3) with H as high as wide"
        raise _refused(path, "observations", f" is {_kind(observations)}, expected {expected}")
    if actions.ndim != 2 or actions.dtype not in (np.float32, np.float64) or actions.shape[1] == 0:
        expected = "float32 (N, A); discrete actions are not supported"
        raise _refused(path, "actions", f" is {_kind(actions)}, expected {expected}")
    if terminals.ndim != 1 or terminals.dtype.kind not in "biuf":
        raise _refused(path, "terminals", f" is {_kind(terminals)}, expected bool (N,)")
    for key, array in arrays.items():
        if array.ndim == 0 or len(array) != len(observations):
            length = len(array) if array.ndim else "no"
            raise _refused(path, key, f" has {length} rows, observations has {len(observations)}: lengths must agree")


def _kind(array: AnyArray) -> str:
    return f"{array.dtype} {array.shape}"


def _check_terminals(path: Path, terminals: AnyArray) -> None:
    strange = np.flatnonzero((terminals != 0) & (terminals != 1))
    if len(strange):
        raise _refused(path, f"terminals[{strange[0]}]", f" is {terminals[strange[0]]}, expected true or false")
    last = np.flatnonzero(terminals)
    if len(last) == 0:
        raise _refused(path, "terminals", " is false everywhere: each trajectory's last row must be marked true")
    if last[-1] != len(terminals) - 1:
        row = len(terminals) - 1
        raise _refused(
            path, f"terminals[{row}]", f" is false: the last trajectory, from row {last[-1] + 1}, has no end"
        )
    lengths = np.diff(last, prepend=-1)
    if lengths.min() < 2:
        row = int(last[np.argmin(lengths)])
        what = " ends a trajectory of one row, which holds no transition: expected at least two"
        raise _refused(path, f"terminals[{row}]", what)


def _check_values(path: Path, key: str, values: AnyArray) -> None:
    """Every number finite, actions within [-1, 1]."""
    if values.dtype == np.uint8:
        return
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        finite = np.isfinite(chunk)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            what = f" is {chunk[row, column]}, expected a finite number"
            raise _refused(path, f"{key}[{start + row}, {column}]", what)
        if key == "actions" and np.abs(chunk).max() > 1.0 + ACTION_ROUNDING:
            row, column = np.argwhere(np.abs(chunk) > 1.0 + ACTION_ROUNDING)[0]
            what = f" is {chunk[row, column]:.6g}, expected a number in [-1, 1]"
            raise _refused(path, f"{key}[{start + row}, {column}]", what)
