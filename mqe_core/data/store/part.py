"""StorePart: the flat files of one folder of an EpisodeStore, opened and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.store import layout
from mqe_core.data.store.checks import check_arrays, open_array
from mqe_core.data.store.episodes import Episodes, read_lines, read_list
from mqe_core.data.store.image_file import ImageFile
from mqe_core.data.store.metadata import damaged
from mqe_core.robot.arrays import Bools, Float32s, Ints


class StorePart:
    """Read access to the files that `metadata` describes, in folder `path`. Arrays are read-only, and stay on the disk.

    A store that was written at once has one part; each `mqe data append` adds one.

    ValueError, naming file and remedy, where a file is missing or has another size, or the arrays do not fit together.
    """

    def __init__(self, path: Path, metadata: layout.Metadata) -> None:
        for name, entry in metadata["files"].items():
            size = (path / name).stat().st_size if (path / name).is_file() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise damaged(path / name, f"expected {entry['bytes']} bytes, the file {found}")
        arrays = {name[:-4]: open_array(path / name) for name in metadata["files"] if name.endswith(".npy")}
        self.path = path
        self.metadata = metadata
        self._lines: Ints | None = arrays.get(layout.LINES_FILE[:-4])
        self._list = [] if self._lines is not None else read_list(path, metadata["num_episodes"])
        check_arrays(path, metadata, arrays)
        self.episode_ends: Ints = arrays["episode_ends"]  # (E,) exclusive
        self.states: Float32s = arrays["states"]  # (N, 7)
        self.actions: Float32s = arrays["actions"]  # (N, 7)
        self.cameras = tuple(metadata["cameras"])
        self._offsets: dict[int, Ints] = {c: arrays[f"camera_{c}_offsets"] for c in self.cameras}
        self._images = {c: ImageFile(path / layout.camera_file(c), self._offsets[c]) for c in self.cameras}

    @property
    def num_frames(self) -> int:
        """N of this part."""
        return len(self.states)

    def episodes(self, first: int = 0, last: int | None = None) -> Episodes:
        """Names and annotations of the episodes from `first` to before `last`. ValueError where they are damaged."""
        if self._lines is None:
            return self._list[first:last]
        return read_lines(self.path, self._lines, first, len(self.episode_ends) if last is None else last)

    def has_image(self, camera: int, frames: Ints | slice = slice(None)) -> Bools:
        """(n,): which of `frames` (n,), or of all, have an image of the camera."""
        if camera not in self._offsets:
            return np.zeros(len(self.states[frames]), dtype=bool)
        offsets = self._offsets[camera]
        return offsets[:-1][frames] < offsets[1:][frames]

    def encoded(self, camera: int, frames: Ints) -> list[bytes]:
        """The images of `frames` (n,) as they are encoded, with no bytes where there is none."""
        return self._images[camera].read(frames)

    def image_file(self, camera: int) -> ImageFile | None:
        """That of the camera; None where the part has none."""
        return self._images.get(camera)

    def frames_between(self, file: str, begin: int, end: int) -> tuple[int, int] | None:
        """The first and the last frame with bytes in [begin, end) of the file; None where it holds no images."""
        camera = next((c for c in self.cameras if layout.camera_file(c) == file), None)
        if camera is None:
            return None
        first, last = np.searchsorted(self._offsets[camera], [begin, end - 1], side="right") - 1
        return int(first), int(last)
