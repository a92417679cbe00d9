"""Both poses of the arm, for whoever composes commands on them: a policy or an operator. Or the reason why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from geometry_msgs.msg import PoseStamped

from mqe_core.robot.spec import RobotSpec
from mqe_ros import convert, topics
from mqe_ros.input_checks import ArmPose
from mqe_ros.publishers import OnePublisher
from mqe_ros.topics import Topic

_TOPICS = (topics.EE_POSE, topics.EE_TARGET)
_Received = tuple[PoseStamped, float]  # a message, and the monotonic time of its receipt


class Listener(Protocol):
    """A node that subscribes by the table of topics, as `ControlNode` does."""

    def subscribe_to(self, topic: Topic, callback: Callable) -> object: ...

    def one_publisher(self, topic: Topic) -> OnePublisher: ...


@dataclass(frozen=True, eq=False)
class ArmPoses:
    """`measured` and really commanded `target`, (4, 4) each, of the messages `received`, by topic."""

    measured: np.ndarray
    target: np.ndarray
    received: dict[str, _Received]


class ArmInputs:
    """Subscriptions whose callbacks only store; `read` converts, in the control thread.

    Args:
        spec: the arm whose poses they are.
        max_pose_age_s: an older pose counts as none.
    """

    def __init__(self, node: Listener, spec: RobotSpec, max_pose_age_s: float) -> None:
        self._max_pose_age_s = max_pose_age_s
        self._lock = threading.Lock()
        self._newest: dict[str, _Received] = {}  # by topic
        self._checks = {topic.name: ArmPose(spec, topic.name) for topic in _TOPICS}
        self._owners = [node.one_publisher(topic) for topic in (*_TOPICS, topics.ARM_STATUS)]
        for topic in _TOPICS:
            node.subscribe_to(topic, lambda message, name=topic.name: self._store(name, message))

    def problem(self) -> str:
        """Who publishes, where a topic of the arm has more than one publisher; else empty."""
        return "; ".join(filter(None, (owner.problem() for owner in self._owners)))

    def forget(self) -> None:
        """What has come so far does not count."""
        with self._lock:
            self._newest.clear()

    def require(self) -> None:
        """ValueError names the pose that has not come yet."""
        with self._lock:
            missing = [name for name in self._checks if name not in self._newest]
        if missing:
            raise ValueError(f"nothing received on {missing[0]} yet")

    def read(self) -> ArmPoses:
        """The newest ones; ValueError where one is missing, too old or unreadable. `check` is still to come."""
        self.require()
        with self._lock:
            newest = dict(self._newest)
        for name in self._checks:
            age = time.monotonic() - newest[name][1]
            if age > self._max_pose_age_s:
                raise ValueError(f"{name} is {age:.1f} s old")
        measured, target = (convert.pose_to_matrix(newest[topic.name][0].pose) for topic in _TOPICS)
        return ArmPoses(measured, target, newest)

    def check(self, poses: ArmPoses) -> None:
        """ValueError where the poses cannot be the arm's: of another frame, out of reach, or jumped."""
        for (name, arm), pose in zip(self._checks.items(), (poses.measured, poses.target)):
            message, received = poses.received[name]
            arm.check(pose, message.header.frame_id, received)

    def _store(self, name: str, message: PoseStamped) -> None:
        with self._lock:
            self._newest[name] = (message, time.monotonic())
