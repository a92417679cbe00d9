"""A pad's driver that misbehaves on request: python fault_pad.py [--ros-args …]

It speaks as joy's game_controller_node does, twenty times a second. A text on /fault_pad/mode changes it: rest (nothing
is pressed); drive (the dead-man is held, and the stick sends the arm to and fro as the fault rig's policy does);
unplugged (nothing is published). As drive, but: past, future, zero (stamped an hour back, ahead, or not at all);
nan, huge (with such a number on an axis that does nothing); another (with another number of axes than this pad's).
"""

from __future__ import annotations

import sys
from pathlib import Path

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Joy
from std_msgs.msg import String

sys.path.insert(0, str(Path(__file__).parents[3]))  # it runs as a process of its own
from mqe_core.robot.spec import load_robot_spec  # noqa: E402
from mqe_core.runtime.teleop.devices import load_devices  # noqa: E402
from tests.ros.fake_process import run  # noqa: E402
from tests.ros.faults.fault_camera import FAR_M, NEAR_M  # noqa: E402
from tests.ros.faults.swinging_policy import STEP_M  # noqa: E402

RATE_HZ = 20.0
HOUR_S = 3600
UNUSED_AXIS = 5  # a trigger


class FaultPad:
    def __init__(self, node) -> None:
        self._node, self._mode, self._way = node, "rest", 1.0
        devices = load_devices()
        self._pad = devices.pad("gamepad")
        middle = sorted(devices.speeds)[1] * devices.fastest_m_per_s * load_robot_spec().control.period_s
        self._deflection = devices.dead_zone + (1.0 - devices.dead_zone) * STEP_M / middle
        self._joy = node.create_publisher(Joy, "/joy", 10)
        node.create_subscription(String, "/fault_pad/mode", self._set, 10)
        node.create_subscription(PoseStamped, "/arm/ee_pose", self._steer, 1)
        node.create_timer(1.0 / RATE_HZ, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _set(self, message: String) -> None:
        self._mode = message.data

    def _steer(self, message: PoseStamped) -> None:
        x = message.pose.position.x
        self._way = -1.0 if x > FAR_M else 1.0 if x < NEAR_M else self._way

    def _publish(self) -> None:
        if self._mode == "unplugged":
            return
        axes, buttons = [0.0] * self._pad.axes, [0] * self._pad.buttons
        if self._mode != "rest":
            buttons[int(self._pad.dead_man.split()[1])] = 1
            axes[int(self._pad.x.split()[1])] = self._way * self._deflection
        axes[UNUSED_AXIS] = {"nan": float("nan"), "huge": 1e9}.get(self._mode, 0.0)
        message = Joy(axes=axes[:-1] if self._mode == "another" else axes, buttons=buttons)
        message.header.stamp = self._stamp()
        self._joy.publish(message)

    def _stamp(self) -> Time:
        now = self._node.get_clock().now().to_msg()
        now.sec += {"past": -HOUR_S, "future": HOUR_S}.get(self._mode, 0)
        return Time() if self._mode == "zero" else now


if __name__ == "__main__":
    run(FaultPad, "fault_pad", args=sys.argv)
