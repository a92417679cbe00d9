"""MCAP bags as the graph would have recorded them, written without the code under test."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mqe_core import ros_names
from mqe_core.robot.geometry import TOOL_DOWN, apply_action, euler_to_rotation, make_pose, rotation_to_quaternion
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.onnx_policy import OnnxPolicy

MESSAGES = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_interfaces" / "msg"
TYPES = get_typestore(Stores.ROS2_JAZZY)
for _name in ("EndEffectorCommand", "ArmStatus", "EpisodeStatus", "PolicyStatus"):
    TYPES.register(get_types_from_msg((MESSAGES / f"{_name}.msg").read_text(), f"mqe_interfaces/msg/{_name}"))
WRIST = "/wrist/image_raw"  # of a second camera, which the policy does not see
TOPICS = {
    ros_names.IMAGE: "sensor_msgs/msg/Image",
    ros_names.COMPRESSED_IMAGE: "sensor_msgs/msg/CompressedImage",
    ros_names.GOAL_IMAGE: "sensor_msgs/msg/Image",
    ros_names.COMMAND: "mqe_interfaces/msg/EndEffectorCommand",
    ros_names.OPERATOR_COMMAND: "mqe_interfaces/msg/EndEffectorCommand",
    ros_names.POLICY_STATUS: "mqe_interfaces/msg/PolicyStatus",
    ros_names.EE_POSE: "geometry_msgs/msg/PoseStamped",
    ros_names.EE_TARGET: "geometry_msgs/msg/PoseStamped",
    ros_names.JOINT_STATES: "sensor_msgs/msg/JointState",
    ros_names.ARM_STATUS: "mqe_interfaces/msg/ArmStatus",
    ros_names.EPISODE_STATUS: "mqe_interfaces/msg/EpisodeStatus",
    ros_names.DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray",
    WRIST: "sensor_msgs/msg/Image",
}


class Bag:
    """Writes what the graph would have written."""

    def __init__(self, folder: Path, spec: RobotSpec) -> None:
        self._spec, self.folder, self.time = spec, folder, 100.0
        self.encoding = "rgb8"  # of the images
        self.names_images = True  # as commands of earlier versions did not
        self.newest_crc32 = 0
        self.writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        self._connections = {
            topic: self.writer.add_connection(topic, kind, typestore=TYPES) for topic, kind in TOPICS.items()
        }

    def make(self, kind: str, **fields):
        return TYPES.types[kind](**fields)

    def stamp(self, time: float):
        return self.make("builtin_interfaces/msg/Time", sec=int(time), nanosec=round(1e9 * (time % 1.0)))

    def header(self, time: float | None = None):
        return self.make(
            "std_msgs/msg/Header", stamp=self.stamp(self.time if time is None else time), frame_id=self._spec.base_frame
        )

    def write(self, topic: str, message) -> None:
        if topic in (ros_names.IMAGE, ros_names.COMPRESSED_IMAGE, WRIST):
            self.newest_crc32 = zlib.crc32(message.data)
        self.writer.write(self._connections[topic], int(1e9 * self.time), TYPES.serialize_cdr(message, TOPICS[topic]))

    def image(self, topic: str, pixels: np.ndarray) -> None:
        height, width, _ = pixels.shape
        channels = pixels[:, :, ::-1] if self.encoding.startswith("bgr") else pixels
        if self.encoding.endswith("a8"):
            channels = np.pad(channels, ((0, 0), (0, 0), (0, 1)), constant_values=255)
        row = channels.shape[2] * width
        fields = {
            "height": height,
            "width": width,
            "encoding": self.encoding,
            "is_bigendian": 0,
            "step": row,
            "data": channels.ravel(),
        }
        self.write(topic, self.make("sensor_msgs/msg/Image", header=self.header(), **fields))

    def pose(self, matrix: np.ndarray):
        x, y, z, w = rotation_to_quaternion(matrix[:3, :3])
        position = self.make("geometry_msgs/msg/Point", **dict(zip("xyz", map(float, matrix[:3, 3]))))
        return self.make(
            "geometry_msgs/msg/Pose",
            position=position,
            orientation=self.make("geometry_msgs/msg/Quaternion", x=float(x), y=float(y), z=float(z), w=float(w)),
        )

    def arm(self, measured: np.ndarray, target: np.ndarray, finger_m: float) -> None:
        for topic, matrix in ((ros_names.EE_POSE, measured), (ros_names.EE_TARGET, target)):
            self.write(topic, self.make("geometry_msgs/msg/PoseStamped", header=self.header(), pose=self.pose(matrix)))
        fields = {
            "name": ["waist", "left_finger"],
            "position": np.array([0.0, finger_m]),
            "velocity": np.array([]),
            "effort": np.array([]),
        }
        self.write(ros_names.JOINT_STATES, self.make("sensor_msgs/msg/JointState", header=self.header(), **fields))

    def operator_command(self, sequence: int, gripper: float, session: str = "operator-one") -> None:
        """An operator names no image."""
        named, self.names_images = self.names_images, False
        self.command(sequence, gripper, session, image_time=0.0, topic=ros_names.OPERATOR_COMMAND)
        self.names_images = named

    def command(
        self,
        sequence: int,
        gripper: float,
        session: str = "one",
        image_time: float | None = None,
        action=None,
        topic: str = ros_names.COMMAND,
    ) -> None:
        """Of the newest image, or of the one that was taken at `image_time`."""
        self.write(
            topic,
            self.make(
                "mqe_interfaces/msg/EndEffectorCommand",
                header=self.header(),
                observation_stamp=self.stamp(self.time if image_time is None else image_time),
                image_crc32=self.newest_crc32 if self.names_images and image_time is None else 0,
                session=session,
                sequence=sequence,
                target=self.pose(np.eye(4)),
                gripper=gripper,
                action=np.full(7, 9.0)
                if action is None
                else action.astype(np.float64),  # the policy's wish, not what was done
                steps_to_goal=1.0,
            ),
        )

    def status(
        self, refused: str, dry_run: bool = False, sequence: int = 1, session: str = "one", clipped: Sequence[str] = ()
    ) -> None:
        kind = TYPES.types["mqe_interfaces/msg/ArmStatus"]
        about = {"session": session, "sequence": sequence, "dry_run": dry_run}
        about |= {"commander": "", "target_gripper": 1.0}
        self.write(
            ros_names.ARM_STATUS,
            kind(header=self.header(), state="ready", reason="", clipped=list(clipped), refused=refused, **about),
        )

    def mark(self, mark: str, label: str = "") -> None:
        """What the recorder notes when an operator marks an episode."""
        kind = TYPES.types["mqe_interfaces/msg/EpisodeStatus"]
        counts = {"number": 1, "open": mark == "start", "kept": 0, "discarded": 0}
        self.write(ros_names.EPISODE_STATUS, kind(header=self.header(), mark=mark, label=label, **counts))

    def policy_status(self, session: str, sequence: int, goal: str, latency_ms: float, state: str = "running") -> None:
        kind = TYPES.types["mqe_interfaces/msg/PolicyStatus"]
        fields = {"reason": "", "steps_to_goal": 1.0, "deadline_misses": 0}
        words = {"state": state, "goal": goal, "session": session, "sequence": sequence, "latency_ms": latency_ms}
        self.write(ros_names.POLICY_STATUS, kind(header=self.header(), **words, **fields))

    def diagnostics(self, text: str, key: str = "domain", **others: str) -> None:
        values = [
            self.make("diagnostic_msgs/msg/KeyValue", key=name, value=value)
            for name, value in {key: text, **others}.items()
        ]
        status = self.make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=0,
            name="policy_node",
            message="",
            hardware_id="",
            values=values,
        )
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        self.write(ros_names.DIAGNOSTICS, self.make(kind, header=self.header(), status=[status]))


class Speaker:
    """A policy node of a recording. Each step is one control period of its own; the bag's time is the caller's."""

    def __init__(self, bag: Bag, session: str, policy: OnnxPolicy, latency_ms: float = 60.0) -> None:
        self.bag, self._session, self._policy, self._latency = bag, session, policy, latency_ms
        self._rng, self._sequence, self._goal, self._name = np.random.default_rng(int(latency_ms)), 0, None, ""

    def show(self, goal: np.ndarray, name: str) -> None:
        self._goal, self._name = goal, name
        self.bag.image(ros_names.GOAL_IMAGE, goal)

    def step(self, off: float = 0.0) -> None:
        """A command whose action is `off` from the policy's, and what is said every period."""
        self._sequence += 1
        image = self._rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        self.bag.image(ros_names.IMAGE, image)
        self.bag.command(self._sequence, 1.0, self._session, action=self._policy.act(image, self._goal).action + off)
        self.speak()
        words = {"sequence": str(self._sequence), "latency_ms": f"{self._latency:.1f}"}
        self.bag.diagnostics(self._policy.fingerprint, "fingerprint", **words)

    def speak(self, state: str = "running") -> None:
        self.bag.policy_status(self._session, self._sequence, self._name, self._latency, state)


def picture(seed: int) -> np.ndarray:
    """(24, 32, 3) uint8, different for each seed."""
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def walk(
    bag: Bag,
    count: int,
    *,
    session: str = "one",
    first: int = 1,
    seed: int = 0,
    by_hand: bool = False,
    begin: np.ndarray | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[float]]:
    """Record `count` commands along a wandering target, which is `begin` (4, 4) at first: images, measured poses,
    targets and grippers.
    """
    rng = np.random.default_rng(seed)
    start = make_pose(euler_to_rotation(np.array([0.0, 0.1, 0.0])) @ TOOL_DOWN, np.array([0.3, 0.0, 0.15]))
    target = start if begin is None else begin
    images, measured, targets, grippers = [], [], [], []
    for k in range(count):
        images.append(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        measured.append(target.copy())
        measured[-1][:3, 3] += rng.normal(0, 0.005, 3)
        targets.append(target)
        grippers.append(float(k % 2))
        bag.image(ros_names.IMAGE, images[-1])
        bag.arm(measured[-1], target, 0.035 - 0.001 * k)
        (bag.operator_command if by_hand else bag.command)(first + k, grippers[-1], session)
        target = apply_action(target, np.array([*rng.normal(0, 0.02, 3), *rng.normal(0, 0.1, 3), 1.0]), measured[-1])
        bag.time += 0.2
    return images, measured, targets, grippers
