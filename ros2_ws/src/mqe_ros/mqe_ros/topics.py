"""Types and QoS of every topic, once; the names stand in `mqe_core.ros_names`.

All are remappable in the usual way (`--ros-args -r /camera/image_raw:=/my/camera`).
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState, Joy
from visualization_msgs.msg import MarkerArray

from mqe_core import ros_names
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand, EpisodeStatus, PolicyStatus


def _qos(
    depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)


NEWEST = _qos(1, ReliabilityPolicy.RELIABLE)  # what is acted on: only the newest counts
NEWEST_BEST_EFFORT = _qos(1, ReliabilityPolicy.BEST_EFFORT)  # for camera drivers that offer nothing better
HISTORY = _qos(10, ReliabilityPolicy.RELIABLE)  # what is watched and recorded
# A late subscriber gets the last one.
LATCHED = _qos(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Topic:
    """One row of the table of interfaces.

    `most_bytes`: a larger message is dropped before it is read. None: its reader has a bound of its own.
    """

    name: str
    type: type
    qos: QoSProfile
    most_bytes: int | None = None


_SMALL = 4096  # bytes; messages of poses and numbers have some hundred


IMAGE = Topic(ros_names.IMAGE, Image, NEWEST)
COMPRESSED_IMAGE = Topic(ros_names.COMPRESSED_IMAGE, CompressedImage, NEWEST)
GOAL_IMAGE = Topic(ros_names.GOAL_IMAGE, Image, LATCHED)
COMMAND = Topic(ros_names.COMMAND, EndEffectorCommand, NEWEST, most_bytes=_SMALL)
OPERATOR_COMMAND = Topic(ros_names.OPERATOR_COMMAND, EndEffectorCommand, NEWEST, most_bytes=_SMALL)
JOY = Topic(ros_names.JOY, Joy, HISTORY, most_bytes=_SMALL)  # history: some drivers tell a button once, when it changes
POLICY_STATUS = Topic(ros_names.POLICY_STATUS, PolicyStatus, HISTORY)
REFERENCE_IMAGE = Topic(ros_names.REFERENCE_IMAGE, Image, LATCHED)
CANDIDATES = Topic(ros_names.CANDIDATES, MarkerArray, LATCHED)
EE_POSE = Topic(ros_names.EE_POSE, PoseStamped, NEWEST, most_bytes=_SMALL)
EE_TARGET = Topic(ros_names.EE_TARGET, PoseStamped, NEWEST, most_bytes=_SMALL)
JOINT_STATES = Topic(ros_names.JOINT_STATES, JointState, HISTORY)
ARM_STATUS = Topic(ros_names.ARM_STATUS, ArmStatus, HISTORY)
INTENDED_PATH = Topic(ros_names.INTENDED_PATH, MarkerArray, LATCHED)
EPISODE_STATUS = Topic(ros_names.EPISODE_STATUS, EpisodeStatus, LATCHED, most_bytes=_SMALL)
DIAGNOSTICS = Topic(ros_names.DIAGNOSTICS, DiagnosticArray, HISTORY)

RECORDED = (
    IMAGE,
    GOAL_IMAGE,
    COMMAND,
    OPERATOR_COMMAND,
    JOY,
    POLICY_STATUS,
    CANDIDATES,
    EE_POSE,
    EE_TARGET,
    JOINT_STATES,
    ARM_STATUS,
    INTENDED_PATH,
    DIAGNOSTICS,
)
