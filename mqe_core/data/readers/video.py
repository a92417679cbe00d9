"""Frames of a video file at given times. The decoder, PyAV, is loaded when the first video is read."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.files.bounded import shown
from mqe_core.files.placeholders import why_unreadable
from mqe_core.robot.arrays import Floats, Images

INSTALL = "pip install -r requirements/lerobot.txt (or pip install 'av' 'pyarrow')"
_MOST_S = 1e7  # a third of a year
_TOLERANCE_S = 2e-3  # between a row's time (float32) and its frame's


def require(package: str) -> Any:
    """The module. ValueError, with the line that installs it, where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"a LeRobot data set needs {package}, which is not installed: {INSTALL}") from error


def read_frames(file: Path, times_s: Floats) -> list[Images]:
    """The frames at the times (T,), ascending, each (H, W, 3) uint8 RGB; fewer where the video ends before.

    ValueError where a time is none, or the file cannot be decoded, or has no frame at a time that it covers: its rate
    is another than that of the rows, or varies.
    """
    av = require("av")
    if not len(times_s) or not (np.isfinite(times_s) & (times_s >= 0) & (times_s < _MOST_S)).all():
        raise ValueError(f"{file.name}: expected times from 0 on, got {shown(times_s.tolist())}")
    found: list[Images] = []
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise ValueError(f"{file.name}: no video stream")
            stream = container.streams.video[0]
            if times_s[0] > 0:  # to the key frame before it
                container.seek(int((times_s[0] - _TOLERANCE_S) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                wanted = times_s[len(found)]
                if frame.time is None or frame.time < wanted - _TOLERANCE_S:
                    continue
                if frame.time > wanted + _TOLERANCE_S:
                    raise ValueError(
                        f"{file.name}: no frame at {wanted:.3f} s, the next is at {frame.time:.3f} s: a variable frame "
                        "rate, or another than the rows'; encode it again at the data set's fps"
                    )
                found.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
                if len(found) == len(times_s):
                    break
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{file.name}: not a readable video: {error}{why_unreadable(file)}") from error
    return found
