"""A video device read with OpenCV: the fallback where no camera driver is at hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from mqe_core.policy.domain import REAL
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Frame

_VIDEO4LINUX = 81  # the kernel's number for video devices


class OpenCvCamera:
    """`device` is an index (`0`) or a path (`/dev/video0`, a video file).

    RuntimeError where it cannot be opened or stops delivering.
    """

    def __init__(self, spec: RobotSpec, *, clock: Clock, device: str) -> None:
        import cv2

        _require_video(device)
        self._clock = clock
        self._device = device
        try:
            self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
            is_open = self._capture.isOpened()
        except (cv2.error, ValueError):  # a number or a name that is none
            is_open = False
        self._to_rgb = lambda image: np.ascontiguousarray(image[:, :, ::-1])
        if not is_open:
            raise RuntimeError(
                f"camera {device!r} cannot be opened: is it plugged in, and may this user read it "
                f"(group video)? Other devices: ls /dev/video*"
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, spec.camera.width_px)  # as near as the device can
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, spec.camera.height_px)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest image, not the oldest waiting one

    def read(self) -> Frame | None:
        """Waits for the device's next image."""
        ok, image = self._capture.read()
        if not ok:
            raise RuntimeError(f"camera {self._device!r} stopped delivering images: check the cable, then start again")
        return Frame(stamp=self._clock.now(), image=self._to_rgb(image), domain=REAL)

    def close(self) -> None:
        self._capture.release()


def _require_video(device: str) -> None:
    """ValueError where a path is what OpenCV would read for ever, such as a pipe."""
    try:
        found = Path(device).stat()
    except (OSError, ValueError):  # an index, an address, or nothing: OpenCV says so itself
        return
    is_device = stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == _VIDEO4LINUX
    if not (is_device or stat.S_ISREG(found.st_mode)):
        raise ValueError(f"camera {device!r} is neither a video device nor a file; video devices: ls /dev/video*")
