"""Names, types and QoS of every topic, once. All are remappable in the usual way (`--ros-args -r
/camera/image_raw:=/my/camera`).
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState
from visualization_msgs.msg import MarkerArray

from mqe_interfaces.msg import ArmStatus, EndEffectorCommand, PolicyStatus


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
    """One row of the table of interfaces."""

    name: str
    type: type
    qos: QoSProfile


IMAGE = Topic("/camera/image_raw", Image, NEWEST)
COMPRESSED_IMAGE = Topic("/camera/image_raw/compressed", CompressedImage, NEWEST)
GOAL_IMAGE = Topic("/goal/image", Image, LATCHED)
COMMAND = Topic("/policy/command", EndEffectorCommand, NEWEST)
POLICY_STATUS = Topic("/policy/status", PolicyStatus, HISTORY)
EE_POSE = Topic("/arm/ee_pose", PoseStamped, NEWEST)
EE_TARGET = Topic("/arm/ee_target", PoseStamped, NEWEST)
JOINT_STATES = Topic("/joint_states", JointState, HISTORY)
ARM_STATUS = Topic("/arm/status", ArmStatus, HISTORY)
INTENDED_PATH = Topic("/arm/intended_path", MarkerArray, LATCHED)
DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray, HISTORY)

RECORDED = (
    IMAGE,
    GOAL_IMAGE,
    COMMAND,
    POLICY_STATUS,
    EE_POSE,
    EE_TARGET,
    JOINT_STATES,
    ARM_STATUS,
    INTENDED_PATH,
    DIAGNOSTICS,
)
