"""What the policy needs of the graph: the newest image and both poses of the arm, or the reason why not."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Frame
from mqe_ros import topics
from mqe_ros.adaptive_subscription import AdaptiveSubscription
from mqe_ros.arm_inputs import ArmInputs
from mqe_ros.frame_reader import FrameReader, Received
from mqe_ros.input_checks import SameCamera
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
        self._lock = threading.Lock()
        self._image_came = threading.Event()
        self._newest: Received | None = None  # image
        self._image_topic = topics.COMPRESSED_IMAGE if compressed else topics.IMAGE
        self._frames = FrameReader(
            self._newest_image, self.wait_for_image, lambda error: node.guard.note(self._image_topic.name, error)
        )
        self._camera = SameCamera(self._image_topic.name)
        self._owner = node.one_publisher(self._image_topic)
        AdaptiveSubscription(node, self._image_topic, self._store_image)
        self._arm = ArmInputs(node, spec, max_pose_age_s)

    def problem(self) -> str:
        """Who publishes an input that has more than one publisher; else empty."""
        return "; ".join(filter(None, (self._owner.problem(), self._arm.problem())))

    def read(self) -> Inputs:
        """The newest of everything; ValueError says what is missing, too old, unreadable or cannot be."""
        try:
            self._newest_image()
            self._arm.require()
            pixels, (message, received) = self._frames.read()
            poses = self._arm.read()  # reading an image may have taken a while
        except ValueError as error:
            raise ValueError(self._several() or str(error)) from error  # several explain whatever one of them sent
        if several := self._several():
            raise ValueError(several)
        self._camera.check(message, pixels, self._owner.publishers)
        self._arm.check(poses)
        frame = Frame(stamp=received, image=pixels, domain=self._domain)
        return Inputs(frame=frame, image=message, measured_pose=poses.measured, target_pose=poses.target)

    def _several(self) -> str:
        """`problem`, and what any of them sent does not count after the others have gone, either."""
        problem = self.problem()
        if problem:
            with self._lock:
                self._newest = None
            self._arm.forget()
        return problem

    def wait_for_image(self, timeout_s: float) -> None:
        """Return when the next image comes, or after `timeout_s`."""
        self._image_came.clear()
        self._image_came.wait(timeout_s)

    def _store_image(self, message: Image | CompressedImage) -> None:
        self.images += 1
        stamp = message.header.stamp
        with self._lock:
            # A driver that sends the same image again and again shows nothing new. Without a stamp there is no telling.
            if self._newest is not None and self._newest[0].header.stamp == stamp and stamp != Time():
                return
            self._newest = (message, time.monotonic())
        self._image_came.set()

    def _newest_image(self) -> Received:
        """ValueError where none has come."""
        with self._lock:
            newest = self._newest
        if newest is None:
            raise ValueError(f"nothing received on {self._image_topic.name} yet")
        return newest
