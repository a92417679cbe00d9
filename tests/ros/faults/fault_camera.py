"""A camera process that misbehaves on request: python fault_camera.py [--ros-args …]

Its pictures tell the fault rig's policy which way to go: reddish until the hand is far out, bluish until it is near again, so the arm
goes to and fro for ever. A text on /fault_camera/mode changes it: ok; repeat (the same picture with new stamps), same_stamp (the same message
again and again), slow (1 Hz), wide (16:9), encoding (mono16), black, nan (a picture that makes the policy emit NaN).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image
from std_msgs.msg import String

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_process import run  # noqa: E402

RATE_HZ, SLOW_HZ = 30.0, 1.0
NEAR_M, FAR_M = 0.24, 0.32
RED, BLUE = (180, 90, 40), (40, 90, 180)


class FaultCamera:
    def __init__(self, node) -> None:
        self._node, self._mode, self._colour = node, "ok", RED
        self._random = np.random.default_rng(0)
        self._texture = self._random.integers(-30, 30, (96, 128, 1))
        self._last, self._last_time = None, 0.0
        self._images = node.create_publisher(Image, "/camera/image_raw", 1)
        node.create_subscription(String, "/fault_camera/mode", self._set, 10)
        node.create_subscription(PoseStamped, "/arm/ee_pose", self._steer, 1)
        node.create_timer(1.0 / RATE_HZ, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _set(self, message: String) -> None:
        self._mode = message.data

    def _steer(self, message: PoseStamped) -> None:
        x = message.pose.position.x
        self._colour = BLUE if x > FAR_M else RED if x < NEAR_M else self._colour

    def _publish(self) -> None:
        if self._mode == "slow" and time.monotonic() - self._last_time < 1.0 / SLOW_HZ:
            return
        if self._mode not in ("same_stamp", "repeat") or self._last is None:
            self._last = self._picture()
        if self._mode != "same_stamp":
            self._last.header.stamp = self._node.get_clock().now().to_msg()
        self._last_time = time.monotonic()
        self._images.publish(self._last)

    def _picture(self) -> Image:
        height, width = (90, 160) if self._mode == "wide" else (96, 128)
        noise = self._random.integers(-4, 5, (height, width, 3))
        picture = np.resize(self._texture, (height, width, 1)) + noise + np.array(self._colour)
        if self._mode == "black":
            picture = np.abs(noise) // 4
        elif self._mode == "nan":
            picture = 255 * (self._random.random((height, width, 1)) < 0.0015).astype(int).repeat(3, axis=2)
        pixels = picture.clip(0, 255).astype(np.uint8)
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=pixels.tobytes())
        if self._mode == "encoding":
            message.encoding, message.step = "mono16", 2 * width
        return message


if __name__ == "__main__":
    run(FaultCamera, "fault_camera", args=sys.argv)
