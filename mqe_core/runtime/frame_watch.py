"""FrameWatch: whether a camera frame can show what the arm is doing now."""

from __future__ import annotations

import numpy as np

from mqe_core.images import why_no_picture
from mqe_core.robot.arrays import Floats
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.policy_reasons import FROZEN_FRAME, NO_PICTURE, STALE_FRAME, WRONG_SHAPE
from mqe_core.runtime.robot import Frame

_SHAPE_TOLERANCE = 0.05  # of the ratio of the sides
_VISIBLE_MOTION_M = 0.01  # so far a hand cannot move without changing a pixel of its picture


class FrameWatch:
    """Judges one frame after the other.

    Pixels that stay the same to the last bit are suspicious only where the arm has moved: a rendered or a compressed
    picture of a scene at rest is always the same.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._max_age_s = spec.control.max_frame_age_s
        self._camera = spec.camera
        self._first: Frame | None = None  # of those that look like the newest
        self._begin: Floats = np.zeros(3)  # where the hand was then
        self._moved: float | None = None  # when it was first seen elsewhere since

    def judge(self, frame: Frame, hand: Floats, now: float) -> tuple[str, str] | None:
        """(reason, detail) why `frame` is not to be acted on, or None.

        Args:
            hand: (3,) m, measured position of the end effector.
            now: monotonic seconds of the same clock as `frame.stamp`.
        """
        frozen = self._is_frozen(frame, hand, now)
        age = now - frame.stamp
        if age > self._max_age_s:
            return STALE_FRAME, f"{age:.2f} s old, allowed {self._max_age_s} s"
        height, width = frame.image.shape[:2]
        ratio, expected = width / height, self._camera.width_px / self._camera.height_px
        # Square: from a store, whose frames are squashed already.
        if height != width and abs(ratio / expected - 1.0) > _SHAPE_TOLERANCE:
            return (
                WRONG_SHAPE,
                f"{width}x{height}; the camera {self._camera.name} has sides as "
                f"{self._camera.width_px}x{self._camera.height_px}",
            )
        if (even := why_no_picture(frame.image)) is not None:
            return NO_PICTURE, even
        if frozen:
            return FROZEN_FRAME, "the arm moves, the picture does not"
        return None

    def _is_frozen(self, frame: Frame, hand: Floats, now: float) -> bool:
        if self._first is None or not np.array_equal(frame.image, self._first.image):
            self._first, self._begin, self._moved = frame, np.array(hand, dtype=np.float64), None
        if self._moved is None and float(np.linalg.norm(hand - self._begin)) > _VISIBLE_MOTION_M:
            self._moved = now
        # The same frame ages; and what has moved just now may not be in the picture yet.
        return frame.stamp != self._first.stamp and self._moved is not None and now - self._moved > self._max_age_s
