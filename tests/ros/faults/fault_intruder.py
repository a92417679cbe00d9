"""A process that publishes beside the camera, the arm or its driver: python fault_intruder.py TOPIC

On the camera's topic: its pictures, mirrored. On a pose's: 5 m away. On the driver's joint states: all zero.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image, JointState

sys.path.insert(0, str(Path(__file__).parents[3]))  # it runs as a process of its own
from tests.ros.fake_process import run  # noqa: E402
from tests.ros.faults.fault_camera import BLUE, RED  # noqa: E402

FRAME, JOINTS = "wx250s/base_link", ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")


class FaultIntruder:
    def __init__(self, node) -> None:
        topic = sys.argv[1]
        kind = JointState if topic.endswith("joint_states") else PoseStamped if "/ee_" in topic else Image
        self._node, self._kind = node, kind
        self._publisher = node.create_publisher(kind, topic, 1)
        node.create_timer(1 / 30, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        message = self._kind()
        message.header.stamp = self._node.get_clock().now().to_msg()
        if isinstance(message, PoseStamped):
            message.header.frame_id = FRAME
            message.pose.position.x, message.pose.orientation.w = 5.0, 1.0
        elif isinstance(message, JointState):
            message.name, message.position = JOINTS, [0.0] * len(JOINTS)
        else:
            half = np.tile(np.array(RED, np.uint8), (96, 64, 1)), np.tile(np.array(BLUE, np.uint8), (96, 64, 1))
            message.height, message.width, message.step, message.encoding = 96, 128, 3 * 128, "rgb8"
            message.data = np.concatenate(half, axis=1).tobytes()
        self._publisher.publish(message)


if __name__ == "__main__":
    run(FaultIntruder, "fault_intruder")
