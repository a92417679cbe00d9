"""A video device read with OpenCV: the fallback where no camera driver is at hand."""

from __future__ import annotations

import numpy as np

from mqe_core.runtime.robot import Clock, Frame
from mqe_core.spec import RobotSpec


class OpenCvCamera:
    """`device` is an index (`0`) or a path (`/dev/video0`, a video file).

    RuntimeError where it cannot be opened or stops delivering.
    """

    def __init__(self, spec: RobotSpec, *, clock: Clock, device: str) -> None:
        import cv2

        self._clock = clock
        self._device = device
        self._capture = cv2.VideoCapture(int(device) if device.isdigit() else device)
        self._to_rgb = lambda image: np.ascontiguousarray(image[:, :, ::-1])
        if not self._capture.isOpened():
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
        return Frame(stamp=self._clock.now(), image=self._to_rgb(image), domain="real")

    def close(self) -> None:
        self._capture.release()
