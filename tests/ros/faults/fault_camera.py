"""A camera process that misbehaves on request: python fault_camera.py [--ros-args …]

Its pictures tell the fault rig's policy which way to go: reddish until the hand is far out, bluish until it is near
again, so the arm goes to and fro for ever. A text on /fault_camera/mode changes it: ok; repeat (the same picture with
new stamps), same_stamp (the same message again and again), slow (1 Hz), wide (16:9), half (half the size), encoding
(mono16), black, nan (a picture that makes the policy emit NaN).

Who reads compressed images gets them as JPEG. Of those only: cut (some are cut short), heavy (some take half a
second to decode); never two in a row.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

sys.path.insert(0, str(Path(__file__).parents[3]))  # it runs as a process of its own
from mqe_core.images import encode_jpeg  # noqa: E402
from tests.ros.fake_process import run  # noqa: E402

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
        self._compressed = node.create_publisher(CompressedImage, "/camera/image_raw/compressed", 1)
        self._heavy = heavy_jpeg()
        self._is_bad = False
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
        if self._compressed.get_subscription_count():
            self._compressed.publish(CompressedImage(header=self._last.header, data=self._jpeg()))

    def _jpeg(self) -> bytes:
        chance = {"cut": 0.5, "heavy": 0.15}.get(self._mode, 0.0)
        # By chance: by turns they would keep step with the policy's ticks.
        self._is_bad = not self._is_bad and self._random.random() < chance
        if self._is_bad and self._mode == "heavy":
            return self._heavy
        image = self._last
        data = encode_jpeg(np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3))
        return data[: len(data) // 2] if self._is_bad else data

    def _picture(self) -> Image:
        height, width = {"wide": (90, 160), "half": (48, 64)}.get(self._mode, (96, 128))
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


def heavy_jpeg() -> bytes:
    """As much work as is taken at all: 4 megapixels in 20 scans."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(100, 130, (2000, 2000, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=50, progressive=True)
    data = buffer.getvalue()
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * (20 - data.count(b"\xff\xda")) + data[-2:]


if __name__ == "__main__":
    run(FaultCamera, "fault_camera", args=sys.argv)
