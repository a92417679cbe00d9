"""What is checked of a part's arrays when it is opened: block by block, so that memory does not grow with the store."""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np

from mqe_core.data.episode import ACTION_SIZE, STATE_SIZE
from mqe_core.data.store import layout
from mqe_core.data.store.metadata import damaged
from mqe_core.robot.arrays import AnyArray, Bools, Ints

_BLOCK_BYTES = 1 << 18  # stays in a core's cache


def open_array(file: Path) -> AnyArray:
    """A .npy file as it lies on the disk, read-only; ValueError, naming it, where it is none."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(file, str(error)) from error
    if not array.flags.c_contiguous or array.offset + array.nbytes != file.stat().st_size:
        raise damaged(file, "expected an array row by row, and nothing after it")
    plain: AnyArray = array.view(np.ndarray)
    return plain


def check_arrays(path: Path, metadata: layout.Metadata, arrays: dict[str, AnyArray]) -> None:
    """ValueError, naming file and remedy, where shapes, types or contents do not fit together."""
    num_episodes, num_frames = metadata["num_episodes"], metadata["num_frames"]
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "episode_ends": ((num_episodes,), np.int64),
        "states": ((num_frames, STATE_SIZE), np.float32),
        "actions": ((num_frames, ACTION_SIZE), np.float32),
    }
    expected.update({f"camera_{camera}_offsets": ((num_frames + 1,), np.int64) for camera in metadata["cameras"]})
    if layout.LINES_FILE in metadata["files"]:
        expected["episode_lines"] = ((num_episodes + 1,), np.int64)
    for name, (shape, dtype) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise damaged(path / f"{name}.npy", f"expected {np.dtype(dtype)} {shape}, got {found}")
    ends = arrays["episode_ends"]
    lengths = np.diff(ends, prepend=0)
    if num_episodes < 1 or ends[-1] != num_frames or lengths.min() < 2:
        raise damaged(path / "episode_ends.npy", f"expected ends that rise by at least 2 up to {num_frames}")
    if layout.LINES_FILE in metadata["files"]:
        lines, size = arrays["episode_lines"], metadata["files"][layout.EPISODES_FILE]["bytes"]
        if lines[0] != 0 or lines[-1] != size or np.diff(lines).min() < 1:
            raise damaged(path / layout.LINES_FILE, f"lines do not rise from 0 to the size of {layout.EPISODES_FILE}")
    if not _only_last_is_nan(path / layout.ACTIONS_FILE, arrays["actions"], ends):
        raise damaged(path / layout.ACTIONS_FILE, "expected NaN in the last frame of each episode and nowhere else")
    for camera in metadata["cameras"]:
        file = path / layout.offsets_file(camera)
        size = metadata["files"][layout.camera_file(camera)]["bytes"]
        _check_offsets(file, arrays[f"camera_{camera}_offsets"], ends - lengths, size)


def _only_last_is_nan(file: Path, actions: AnyArray, ends: Ints) -> bool:
    """All of the last row of each episode is NaN, and all else is finite."""
    for first, block in _blocks(file, actions):
        last = ends[slice(*np.searchsorted(ends, [first + 1, first + len(block) + 1]))] - 1 - first
        odd = block.size - np.count_nonzero(np.isfinite(block))
        if odd != ACTION_SIZE * len(last) or not np.isnan(block[last]).all():
            return False
    return True


def _check_offsets(file: Path, offsets: Ints, starts: Ints, size: int) -> None:
    """They rise from 0 to `size`; the frames of an episode, which begins at one of `starts`, have an image or none."""
    before: Ints = offsets[:1]
    had_image: Bools = np.zeros(0, dtype=bool)  # of the frame before, which an episode's first one need not equal
    frame = 0
    rises = before[0] == 0
    for first, block in _blocks(file, offsets):
        sizes = np.diff(block, prepend=before) if first else np.diff(block)
        rises = rises and (len(sizes) == 0 or sizes.min() >= 0)
        has_image = np.concatenate([had_image, sizes > 0])
        changes = np.flatnonzero(has_image[1:] != has_image[:-1]) + frame + 1 - len(had_image)
        if len(changes) and not np.isin(changes, starts).all():
            raise damaged(file, "an episode has images of only some of its frames")
        before, had_image, frame = block[-1:].copy(), has_image[-1:], frame + len(sizes)
    if not rises or before[0] != size:
        raise damaged(file, f"offsets do not rise from 0 to the size of {file.name.replace('_offsets.npy', '.bin')}")


def _blocks(file: Path, array: AnyArray) -> Iterator[tuple[int, AnyArray]]:
    """The rows of a .npy file in order: the number of a block's first one, and the block, which the next overwrites.

    It is read, not mapped: what is mapped counts as memory of this process.
    """
    row_bytes = array.strides[0]
    rows = min(max(1, _BLOCK_BYTES // row_bytes), len(array))
    buffer = np.empty((rows, *array.shape[1:]), dtype=array.dtype)
    with open(file, "rb", buffering=0) as stream:
        stream.seek(-array.nbytes, 2)  # after the header
        for first in range(0, len(array), rows):
            block = buffer[: len(array) - first]
            _fill(stream, block)
            yield first, block


def _fill(stream: FileIO, block: AnyArray) -> None:
    view = memoryview(block.data).cast("B")
    while len(view):
        count = stream.readinto(view)
        if not count:
            raise damaged(Path(str(stream.name)), "it became shorter while it was read")
        view = view[count:]
