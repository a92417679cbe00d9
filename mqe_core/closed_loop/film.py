"""Films as MP4 files that are whole, or are not there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.files.disk import WriteError, writing
from mqe_core.robot.arrays import Images


def write_film(path: Path, frames: Iterable[Images], width: int, height: int, fps: float, **options: Any) -> Path:
    """Frames (height, width, 3) uint8 → H.264; `options` are those of `imageio_ffmpeg.write_frames`.

    WriteError, leaving no file, where the disk does not take it. ffmpeg says so on the terminal only, so the frames
    that are in the file are counted.
    """
    import imageio_ffmpeg

    count = 0
    try:
        with writing(path):
            writer = imageio_ffmpeg.write_frames(str(path), (width, height), fps=fps, **options)
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
                count += 1
            writer.close()
        if (found := _frames_in(path)) < count:
            raise WriteError(
                f"{path} cannot be written: of {count} pictures {found} are in it; free some space, or choose another "
                "place"
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _frames_in(path: Path) -> int:
    import imageio_ffmpeg

    try:
        return int(imageio_ffmpeg.count_frames_and_secs(str(path))[0])
    except (RuntimeError, OSError):  # it is no film
        return 0
