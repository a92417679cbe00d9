"""The newest of everything that a graph says, for the console's page. Callbacks only store; readers convert."""

from __future__ import annotations

import math
import threading
import time
from collections import deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from mqe_core.console.link import (
    CAMERA,
    GOAL,
    REFERENCE,
    ArmView,
    Diagnosis,
    EpisodesView,
    Line3D,
    Picture,
    PolicyView,
    Scene,
    Snapshot,
)
from mqe_core.files.bounded import shortened
from mqe_core.robot.spec import RobotSpec
from mqe_interfaces.msg import ArmStatus, EpisodeStatus, PolicyStatus
from mqe_ros import convert, topics
from mqe_ros.adaptive_subscription import AdaptiveSubscription
from mqe_ros.running import ControlNode

_TOPICS = {CAMERA: topics.IMAGE, GOAL: topics.GOAL_IMAGE, REFERENCE: topics.REFERENCE_IMAGE}
_RATE_S = 3.0  # over which messages are counted
_MOST_NODES, _MOST_FIGURES, _MOST_BYTES = 20, 60, 500  # of /diagnostics, whoever publishes there
_MOST_POINTS = 500  # of a line


class GraphWatch:
    """Subscribes to what the page shows. `snapshot` and `picture` may be called from any thread."""

    def __init__(self, node: ControlNode, spec: RobotSpec) -> None:
        self._node, self._spec = node, spec
        self._lock = threading.Lock()
        self._arm: ArmView | None = None
        self._policy: PolicyView | None = None
        self._episodes: EpisodesView | None = None
        self._diagnoses: dict[str, Diagnosis] = {}
        self._joints: JointState | None = None
        self._gripper: float | None = None
        self._poses: dict[str, PoseStamped] = {}
        self._path: Line3D | None = None
        self._candidates: tuple[Line3D, ...] = ()
        self._heard: dict[str, deque[float]] = {}  # when messages came, by topic
        self._images: dict[str, tuple[int, float, bytes]] = {}  # number, when, and the message's bytes
        self._has_reference = False  # who showed it may be gone, with its policy
        for topic, callback in (
            (topics.ARM_STATUS, self._on_arm),
            (topics.POLICY_STATUS, self._on_policy),
            (topics.EPISODE_STATUS, self._on_episodes),
            (topics.DIAGNOSTICS, self._on_diagnostics),
            (topics.JOINT_STATES, self._on_joints),
            (topics.EE_POSE, lambda message: self._on_pose(topics.EE_POSE.name, message)),
            (topics.EE_TARGET, lambda message: self._on_pose(topics.EE_TARGET.name, message)),
            (topics.INTENDED_PATH, self._on_path),
            (topics.CANDIDATES, self._on_candidates),
            (topics.COMMAND, lambda _: self._count(topics.COMMAND.name)),
            (topics.OPERATOR_COMMAND, lambda _: self._count(topics.OPERATOR_COMMAND.name)),
        ):
            node.subscribe_to(topic, callback)
        AdaptiveSubscription(node, topics.IMAGE, lambda raw: self._on_image(CAMERA, raw), raw=True)
        for name in (GOAL, REFERENCE):
            topic = _TOPICS[name]
            node.create_subscription(
                topic.type, topic.name, lambda raw, name=name: self._on_image(name, raw), topic.qos, raw=True
            )

    def snapshot(self) -> Snapshot:
        """As `Link.snapshot`."""
        now = time.monotonic()
        with self._lock:
            rates = {name: _rate(heard, now) for name, heard in self._heard.items()}
            target = self._poses.get(topics.EE_TARGET.name)
            joints, gripper = self._joints, self._gripper
            return Snapshot(
                arm=self._arm,
                policy=self._policy,
                episodes=self._episodes,
                diagnoses=dict(self._diagnoses),
                rates=rates,
                scene=Scene(
                    joints=None if joints is None else self._joint_vector(joints),
                    gripper=gripper,
                    target=None if target is None else _matrix(target),
                    path=self._path,
                    candidates=self._candidates,
                ),
            )

    def measured(self) -> np.ndarray:
        """(4, 4), the arm's measured pose. ValueError where it is not known."""
        with self._lock:
            pose = self._poses.get(topics.EE_POSE.name)
        matrix = None if pose is None else _matrix(pose)
        if matrix is None:
            raise ValueError("the arm has not told yet where its hand is")
        return matrix

    def picture_number(self, name: str) -> int:
        """As `Link.picture_number`."""
        with self._lock:
            return 0 if self._is_gone(name) else self._images[name][0]

    def picture(self, name: str) -> Picture | None:
        """As `Link.picture`."""
        with self._lock:
            if self._is_gone(name):
                return None
            number, heard, raw = self._images[name]
        return Picture(number, heard, convert.image_to_array(deserialize_message(raw, topics.IMAGE.type)))

    def _is_gone(self, name: str) -> bool:
        """Whether there is no such picture now. Call with the lock held."""
        return name not in self._images or (name == REFERENCE and not self._has_reference)

    def _count(self, name: str) -> None:
        now = time.monotonic()
        with self._lock:
            heard = self._heard.setdefault(name, deque())
            heard.append(now)
            while now - heard[0] > _RATE_S:
                heard.popleft()

    def _on_image(self, name: str, raw: bytes) -> None:
        self._count(_TOPICS[name].name)
        with self._lock:
            number = self._images[name][0] + 1 if name in self._images else 1
            self._images[name] = (number, time.monotonic(), raw)

    def _on_arm(self, status: ArmStatus) -> None:
        self._count(topics.ARM_STATUS.name)
        view = ArmView(
            heard=time.monotonic(),
            state=shortened(status.state, _MOST_BYTES),
            reason=shortened(status.reason, _MOST_BYTES),
            clipped=tuple(status.clipped[:_MOST_FIGURES]),
            refused=status.refused,
            commander=status.commander,
            dry_run=status.dry_run,
        )
        with self._lock:
            self._arm = view
            self._gripper = _number(status.target_gripper)

    def _on_policy(self, status: PolicyStatus) -> None:
        self._count(topics.POLICY_STATUS.name)
        view = PolicyView(
            heard=time.monotonic(),
            state=shortened(status.state, _MOST_BYTES),
            reason=shortened(status.reason, _MOST_BYTES),
            goal=shortened(status.goal, _MOST_BYTES),
            steps_to_goal=_number(status.steps_to_goal),
            latency_ms=_number(status.latency_ms),
            deadline_misses=status.deadline_misses,
        )
        has_reference = self._node.count_publishers(topics.REFERENCE_IMAGE.name) > 0
        with self._lock:
            self._policy, self._has_reference = view, has_reference

    def _on_episodes(self, status: EpisodeStatus) -> None:
        with self._lock:
            before = self._episodes
            is_same = before is not None and before.number == status.number and before.is_open
            began = before.began if is_same and before else time.monotonic() if status.open else None
            label = shortened(status.label, _MOST_BYTES)
            self._episodes = EpisodesView(status.number, status.open, label, status.kept, status.discarded, began)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        for status in message.status[:_MOST_NODES]:
            name = shortened(status.name, 80).removesuffix(": control")
            figures = {
                shortened(pair.key, 80): shortened(pair.value, _MOST_BYTES) for pair in status.values[:_MOST_FIGURES]
            }
            level = int.from_bytes(status.level, "little")
            with self._lock:
                if name in self._diagnoses or len(self._diagnoses) < _MOST_NODES:
                    self._diagnoses[name] = Diagnosis(now, level, shortened(status.message, _MOST_BYTES), figures)

    def _on_joints(self, message: JointState) -> None:
        self._count(topics.JOINT_STATES.name)
        with self._lock:
            self._joints = message

    def _on_pose(self, name: str, message: PoseStamped) -> None:
        with self._lock:
            self._poses[name] = message

    def _on_path(self, message: MarkerArray) -> None:
        lines = [line for marker in message.markers if marker.ns == "path" for line in _lines(marker)]
        with self._lock:
            self._path = lines[0] if lines else None

    def _on_candidates(self, message: MarkerArray) -> None:
        found = tuple(line for marker in message.markers[:10] for line in _lines(marker))
        with self._lock:
            self._candidates = found

    def _joint_vector(self, message: JointState) -> np.ndarray | None:
        """(6,) rad by the robot's names; None where one is missing or no number."""
        told = dict(zip(message.name, message.position))
        values = np.array([told.get(name, math.nan) for name in self._spec.joint_names])
        return values if np.isfinite(values).all() else None


def _rate(heard: deque[float], now: float) -> float:
    """Messages a second over the last seconds."""
    recent = [at for at in heard if now - at <= _RATE_S]
    return len(recent) / _RATE_S


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _matrix(message: PoseStamped) -> np.ndarray | None:
    try:
        matrix = convert.pose_to_matrix(message.pose)
    except ValueError:
        return None
    return matrix if np.isfinite(matrix).all() else None


def _lines(marker: Marker) -> list[Line3D]:
    """The marker's line, or its many; none where it is no line."""
    points = np.array([(p.x, p.y, p.z) for p in marker.points[:_MOST_POINTS]], dtype=np.float64).reshape(-1, 3)
    if marker.action != Marker.ADD or len(points) < 2 or not np.isfinite(points).all():
        return []
    if marker.type == Marker.LINE_STRIP:
        return [Line3D(points, _colour(marker.colors[-1] if marker.colors else marker.color))]
    if marker.type == Marker.LINE_LIST:
        colours = list(marker.colors) or [marker.color] * len(points)
        return [Line3D(points[i : i + 2], _colour(colours[min(i, len(colours) - 1)])) for i in range(0, len(points), 2)]
    return []


def _colour(colour: ColorRGBA) -> str:
    levels = [round(255 * min(max(value, 0.0), 1.0)) for value in (colour.r, colour.g, colour.b)]
    return "#{:02x}{:02x}{:02x}".format(*levels)
