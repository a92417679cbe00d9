"""What the policy needs of the graph: the newest image and both poses of the arm, or the reason why not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Frame
from mqe_ros import convert, topics
from mqe_ros.adaptive_subscription import AdaptiveSubscription
from mqe_ros.frame_reader import FrameReader, Received
from mqe_ros.input_checks import ArmPose, SameCamera
from mqe_ros.running import ControlNode


@dataclass(frozen=True, eq=False)
class Inputs:
    """One set of inputs. `frame.stamp` is the time of receipt; that in `image` is the camera's own."""

    frame: Frame
    image: Image | CompressedImage  # of which the frame was made
    measured_pose: np.ndarray  # (4, 4)
    target_pose: np.ndarray  # (4, 4), really commanded


class PolicyInputs:
    """Subscriptions whose callbacks only store; `read` converts, in the control thread.

    Args:
        spec: the arm whose poses they are.
        domain: what the camera shows, `sim` or `real`.
        compressed: read the compressed image topic instead of the raw one.
        max_pose_age_s: an older pose counts as none. The age of images is judged by the policy's side.
    """

    def __init__(
        self, node: ControlNode, spec: RobotSpec, domain: str, compressed: bool, max_pose_age_s: float
    ) -> None:
        self.images = 0  # received so far
        self._domain = domain
        self._max_pose_age_s = max_pose_age_s
        self._lock = threading.Lock()
        self._image_came = threading.Event()
        self._newest: dict[str, tuple[Any, float]] = {}  # by topic: message, monotonic time of receipt
        self._image_topic = topics.COMPRESSED_IMAGE if compressed else topics.IMAGE
        self._frames = FrameReader(
            self._newest_image, self.wait_for_image, lambda error: node.guard.note(self._image_topic.name, error)
        )
        self._camera = SameCamera(self._image_topic.name)
        self._poses = {topic.name: ArmPose(spec, topic.name) for topic in (topics.EE_POSE, topics.EE_TARGET)}
        one = (self._image_topic, topics.EE_POSE, topics.EE_TARGET, topics.ARM_STATUS)
        self._owners = [node.one_publisher(topic) for topic in one]
        AdaptiveSubscription(node, self._image_topic, self._store_image)
        for topic in (topics.EE_POSE, topics.EE_TARGET):
            node.subscribe_to(topic, lambda message, name=topic.name: self._store(name, message))

    def problem(self) -> str:
        """Who publishes an input that has more than one publisher; else empty."""
        return "; ".join(filter(None, (owner.problem() for owner in self._owners)))

    def read(self) -> Inputs:
        """The newest of everything; ValueError says what is missing, too old, unreadable or cannot be."""
        try:
            pixels, (message, received) = self._read_image()
            with self._lock:
                newest = dict(self._newest)  # reading an image may have taken a while
            frame = Frame(stamp=received, image=pixels, domain=self._domain)
            inputs = self._with_poses(frame, message, newest)
        except ValueError as error:
            raise ValueError(self._several() or str(error)) from error  # several explain whatever one of them sent
        if several := self._several():
            raise ValueError(several)
        self._camera.check(inputs.image, inputs.frame.image, self._owners[0].publishers)
        for (name, arm), pose in zip(self._poses.items(), (inputs.measured_pose, inputs.target_pose)):
            message, received = newest[name]
            arm.check(pose, message.header.frame_id, received)
        return inputs

    def _several(self) -> str:
        """`problem`, and what any of them sent does not count after the others have gone, either."""
        problem = self.problem()
        if problem:
            with self._lock:
                self._newest.clear()
        return problem

    def _read_image(self) -> tuple[np.ndarray, Received]:
        with self._lock:
            newest = dict(self._newest)
        for name in (self._image_topic.name, *self._poses):
            if name not in newest:
                raise ValueError(f"nothing received on {name} yet")
        return self._frames.read()

    def _with_poses(self, frame: Frame, image: Image | CompressedImage, newest: dict[str, tuple[Any, float]]) -> Inputs:
        for name in self._poses:
            age = time.monotonic() - newest[name][1]
            if age > self._max_pose_age_s:
                raise ValueError(f"{name} is {age:.1f} s old")
        return Inputs(
            frame=frame,
            image=image,
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

    def _newest_image(self) -> Received:
        with self._lock:
            return self._newest[self._image_topic.name]

    def _store(self, name: str, message: Image | CompressedImage | PoseStamped) -> None:
        with self._lock:
            self._newest[name] = (message, time.monotonic())
