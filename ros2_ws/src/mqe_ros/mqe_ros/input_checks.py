"""Whether a picture and a pose can be what camera and arm say: the same camera as before, a place that the arm reaches.

Each raises ValueError with what is wrong, and what to do.
"""

from __future__ import annotations

import math

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.files.bounded import shown
from mqe_core.robot.geometry import rotation_angle
from mqe_core.robot.kinematics import POSITION_TOLERANCE_M
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.policy_reasons import WRONG_SHAPE


class SameCamera:
    """That the pictures keep their size, encoding and frame for as long as their publisher is the same.

    A camera's driver that is started again is another publisher, and begins anew.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._publishers: frozenset[bytes] = frozenset()
        self._size: tuple[int, int] | None = None
        self._kind: tuple[str, str] = ("", "")

    def check(self, message: Image | CompressedImage, pixels: np.ndarray, publishers: frozenset[bytes]) -> None:
        """Args:
        pixels: (H, W, 3), of the message.
        publishers: ids of the topic's publishers, some of which may be dead.
        """
        size = (int(pixels.shape[1]), int(pixels.shape[0]))
        kind = (message.encoding if isinstance(message, Image) else message.format, message.header.frame_id)
        if self._size is None or publishers - self._publishers:
            self._publishers, self._size, self._kind = publishers, size, kind
            return
        remedy = "set it back, or start the camera's driver again"
        if size != self._size:
            raise ValueError(
                f"{WRONG_SHAPE}: {self._topic} has changed from {_pixels(self._size)} to {_pixels(size)} pixels; "
                f"{remedy}"
            )
        if kind != self._kind:
            was, now = (f"{shown(encoding)}, frame {shown(frame)}" for encoding, frame in (self._kind, kind))
            raise ValueError(f"{self._topic} has changed from encoding {was} to encoding {now}; {remedy}")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


class ArmPose:
    """That poses are in the arm's base frame, within its reach, and no farther from the last one than it can have gone.

    The arm steps by at most one command a control period, also where it homes or parks. A pose that is farther away
    counts once the time has passed in which the arm could have gone there: it may have been moved by hand.
    """

    def __init__(self, spec: RobotSpec, topic: str) -> None:
        self._spec, self._topic = spec, topic
        self._reach_m = _reach_m(spec)
        self._last: tuple[np.ndarray, float] | None = None  # the newest one that passed, and when it was received

    def check(self, pose: np.ndarray, frame_id: str, received: float) -> None:
        """Args:
        pose: (4, 4).
        received: monotonic seconds.
        """
        spec, topic = self._spec, self._topic
        if frame_id != spec.base_frame:
            raise ValueError(
                f"{topic} is in the frame {shown(frame_id)}, and the arm's base frame is {spec.base_frame!r}: another "
                "arm's, or a wrong frame_id; look who publishes it (ros2 topic info -v)"
            )
        distance = float(np.linalg.norm(pose[:3, 3]))
        if not distance <= self._reach_m:  # nor is NaN
            raise ValueError(
                f"{topic} is {distance:.3g} m from the arm's base, and the arm reaches {self._reach_m:.2f} m; look who "
                "publishes it (ros2 topic info -v)"
            )
        if self._last is not None:
            self._check_way(pose, received, *self._last)
        self._last = pose, received

    def _check_way(self, pose: np.ndarray, received: float, last: np.ndarray, then: float) -> None:
        control = self._spec.control
        # One more: a step may have been made between the measurement of the last one and its receipt.
        steps = (received - then) / control.period_s + 1.0
        limits = (
            (float(np.linalg.norm(pose[:3, 3] - last[:3, 3])), control.max_translation_step_m, "m"),
            (rotation_angle(last[:3, :3], pose[:3, :3]), control.max_rotation_step_rad, "rad"),
        )
        for (way, step, unit), slack in zip(limits, (control.tracking_tolerance_m, control.tracking_tolerance_rad)):
            if not way <= math.sqrt(3.0) * step * steps + slack:
                raise ValueError(
                    f"{self._topic} has jumped by {way:.2f} {unit} in {received - then:.2f} s, which the arm cannot; "
                    "if this goes on, look who publishes it (ros2 topic info -v)"
                )


def _reach_m(spec: RobotSpec) -> float:
    """The end effector is never farther from the centre of the mounting plane."""
    links = sum(float(np.linalg.norm(joint.origin_m)) for joint in spec.joints)
    return links + spec.tool.ee_offset_m + POSITION_TOLERANCE_M
