"""What the policy needs of the graph: the newest image and both poses of the arm, or the reason why not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Union

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.runtime.robot import Frame
from mqe_ros import convert, topics
from mqe_ros.adaptive_subscription import AdaptiveSubscription
from mqe_ros.running import ControlNode

_Message = Union[Image, CompressedImage, PoseStamped]


@dataclass(frozen=True, eq=False)
class Inputs:
    """One set. `image_stamp` is the camera's own, by the ROS clock; `frame.stamp` is the receipt."""

    frame: Frame
    image_stamp: Time
    measured_pose: np.ndarray  # (4, 4)
    target_pose: np.ndarray  # (4, 4), really commanded


class PolicyInputs:
    """Subscriptions whose callbacks only store; `read` converts, in the control thread.

    Args:
        domain: what the camera shows, `sim` or `real`.
        compressed: read the compressed image topic instead of the raw one.
        max_pose_age_s: an older pose is none; the age of images is the policy's own business.
    """

    def __init__(self, node: ControlNode, domain: str, compressed: bool, max_pose_age_s: float) -> None:
        self.images = 0  # received so far
        self._domain = domain
        self._max_pose_age_s = max_pose_age_s
        self._lock = threading.Lock()
        self._image_came = threading.Event()
        self._newest: dict[str, tuple[_Message, float]] = {}  # by topic: message, monotonic time of receipt
        self._image_topic = topics.COMPRESSED_IMAGE if compressed else topics.IMAGE
        AdaptiveSubscription(node, self._image_topic, self._store_image)
        for topic in (topics.EE_POSE, topics.EE_TARGET):
            node.subscribe_to(topic, lambda message, name=topic.name: self._store(name, message))

    def read(self) -> Inputs:
        """The newest of everything; ValueError says what is missing, too old or unreadable."""
        with self._lock:
            newest = dict(self._newest)
        for name in (self._image_topic.name, topics.EE_POSE.name, topics.EE_TARGET.name):
            if name not in newest:
                raise ValueError(f"nothing received on {name} yet")
        for name in (topics.EE_POSE.name, topics.EE_TARGET.name):
            age = time.monotonic() - newest[name][1]
            if age > self._max_pose_age_s:
                raise ValueError(f"{name} is {age:.1f} s old")
        message, received = newest[self._image_topic.name]
        to_array = convert.image_to_array if isinstance(message, Image) else convert.compressed_to_array
        return Inputs(
            frame=Frame(stamp=received, image=to_array(message), domain=self._domain),
            image_stamp=message.header.stamp,
            measured_pose=convert.pose_to_matrix(newest[topics.EE_POSE.name][0].pose),
            target_pose=convert.pose_to_matrix(newest[topics.EE_TARGET.name][0].pose),
        )

    def wait_for_image(self, timeout_s: float) -> None:
        """Return when the next image comes, or after `timeout_s`."""
        self._image_came.clear()
        self._image_came.wait(timeout_s)

    def _store_image(self, message: Image | CompressedImage) -> None:
        self.images += 1
        stamp = message.header.stamp
        with self._lock:
            last = self._newest.get(self._image_topic.name)
        # A driver that sends the same image again and again shows nothing new. Without a stamp there is no telling.
        if last is not None and last[0].header.stamp == stamp and stamp != Time():
            return
        self._store(self._image_topic.name, message)
        self._image_came.set()

    def _store(self, name: str, message: _Message) -> None:
        with self._lock:
            self._newest[name] = (message, time.monotonic())
