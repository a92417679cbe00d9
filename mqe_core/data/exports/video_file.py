"""Writing the pictures of many episodes, one after the other, into an mp4 file. PyAV encodes; what it writes is lossy.

AV1 in yuv420p with a key frame every second frame, as `lerobot` writes by default, at a finer quality: CRF 10 in place
of 30. On BridgeData at 64 pixels that is 36 dB in place of 33, and 1.7 kB a frame in place of 0.9.
"""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from mqe_core.data.readers.video import require
from mqe_core.files.disk import WriteError
from mqe_core.robot.arrays import Images

CODEC, PIXELS = "av1", "yuv420p"
_ENCODER = "libsvtav1"
_OPTIONS = {"crf": "10", "g": "2", "preset": "8"}


class VideoFile:
    """One mp4 file while it grows; use as a context manager. WriteError where the disk does not take it."""

    def __init__(self, path: Path, size: int, fps: int) -> None:
        """`size` (even): height and width of its frames."""
        os.environ.setdefault("SVT_LOG", "1")  # errors only; the encoder writes its settings to stderr otherwise
        self._av = require("av")
        self.path = path
        self.num_frames = 0
        self._fps = fps
        try:
            self._container: Any = self._av.open(str(path), "w")
            self._stream = self._container.add_stream(_ENCODER, rate=fps, options=_OPTIONS)
            self._stream.width = self._stream.height = size
            self._stream.pix_fmt = PIXELS
        except self._av.error.FFmpegError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, exception_type: object, *_: object) -> None:
        if exception_type is None:
            self._finish()
        else:
            with contextlib.suppress(self._av.error.FFmpegError):
                self._stream.encode()  # an encoder that is left in the middle complains on stderr
                self._container.close()

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return self.num_frames / self._fps

    def append(self, frames: Images) -> None:
        """(T, size, size, 3) uint8 RGB."""
        try:
            for pixels in frames:
                frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = self.num_frames, Fraction(1, self._fps)
                self._container.mux(self._stream.encode(frame))
                self.num_frames += 1
        except self._av.error.FFmpegError as error:
            raise self._unwritten(error) from error

    def num_bytes(self) -> int:
        """How many have reached the disk."""
        return self.path.stat().st_size if self.path.exists() else 0  # the first frames are still in the encoder

    def _finish(self) -> None:
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            with self._av.open(str(self.path)) as written:
                found = sum(packet.size > 0 for packet in written.demux(video=0))
        except self._av.error.FFmpegError as error:
            raise self._unwritten(error) from error
        if found != self.num_frames:  # what a full disk swallowed the muxer does not always say
            raise self._unwritten(f"{found} of {self.num_frames} frames are in it")

    def _unwritten(self, why: object) -> WriteError:
        return WriteError(f"{self.path} cannot be written: {why}; free some space, or choose another place")
