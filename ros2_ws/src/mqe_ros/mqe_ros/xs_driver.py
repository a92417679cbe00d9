"""Interbotix's driver (xs_sdk) as seen from this side: joint states with their time of receipt, commands, registers.

The plumbing is `InterbotixRobotXSCore` (interbotix_xs_modules), imported only here. That class waits without
end wherever the driver is silent, and its answers say nothing about success (interbotix_ros_core, xs_sdk_obj.cpp);
here every wait has an end, and who needs to know whether something was written reads it back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import JointState

from mqe_ros.joint_reading import JointReading, read_joint_states
from mqe_ros.publishers import OnePublisher

ARM, GRIPPER, ALL = "arm", "gripper", "all"  # the driver's names of joint groups and of the gripper's motor
_STARTUP_S = 10.0  # for the driver to be discovered and to publish
ANSWER_S = 1.0  # for one service call; it takes some 10 ms

logger = logging.getLogger(__name__)


class XsDriver:
    """One connection. `name` is the driver's namespace. RuntimeError with the remedy where it does not answer."""

    def __init__(self, name: str) -> None:
        try:
            from interbotix_xs_modules.xs_robot.core import InterbotixRobotXSCore
            from interbotix_xs_msgs.srv import (
                MotorGains,
                OperatingModes,
                Reboot,
                RegisterValues,
                RobotInfo,
                TorqueEnable,
            )
        except ImportError as error:
            raise RuntimeError(
                f"Interbotix's ROS 2 packages are missing ({error}); docs/hardware.md says how to install them"
            ) from error
        if not rclpy.ok():  # in a program that is no ROS node
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        # Not by the process's arguments: those would give it the name of the process's own node.
        self._node = _BoundedNode(f"{name}_client".replace("/", "_"), use_global_arguments=False)
        self._newest: JointReading | None = None
        self._source = OnePublisher(self._node, f"/{name}/joint_states")
        try:
            # The core waits for these for ever; so they are waited for here first.
            services = {
                "set_operating_modes": OperatingModes,
                "set_motor_pid_gains": MotorGains,
                "set_motor_registers": RegisterValues,
                "get_motor_registers": RegisterValues,
                "get_robot_info": RobotInfo,
                "torque_enable": TorqueEnable,
                "reboot_motors": Reboot,
            }
            probes = [self._node.create_client(kind, f"/{name}/{service}") for service, kind in services.items()]
            # rclpy's annotation leaves out what it does: a callback of two gets the message's info.
            hear: Callable = self._on_joint_states
            states = self._node.create_subscription(JointState, f"/{name}/joint_states", hear, 10, raw=True)
            end = time.monotonic() + _STARTUP_S
            if not all(probe.wait_for_service(timeout_sec=max(0.0, end - time.monotonic())) for probe in probes):
                raise RuntimeError(
                    f"no arm driver answers under /{name}; start it: "
                    f"ros2 launch interbotix_xsarm_control xsarm_control.launch.py robot_model:={name}"
                )
            self._wait_for_states(name)
            for probe in probes:
                self._node.destroy_client(probe)
            self._core = InterbotixRobotXSCore(robot_model=name, robot_name=name, node=self._node)
            # Its own subscription keeps no time of receipt, and 100 messages a second need not be read twice.
            self._node.destroy_subscription(self._core.sub_joint_states)
        except BaseException:
            self._node.destroy_node()
            raise
        self._states = states
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="xs_driver", daemon=True)
        self._thread.start()

    def reading(self) -> JointReading:
        """The newest joint states."""
        assert self._newest is not None  # the constructor waited for it
        return self._newest

    def problem(self) -> str:
        """Why the joint states are not to be believed: another node publishes some as well. Else empty."""
        return self._source.problem()

    def write_joints(self, positions: list[float]) -> None:
        """Goal positions of the arm's joints, rad; the motors go there by their profile."""
        self._core.robot_write_commands(ARM, positions)

    def write_gripper(self, pwm: float) -> None:
        """PWM of the gripper's motor; it stands until the next one, whoever dies in between."""
        self._core.robot_write_joint_command(GRIPPER, float(pwm))

    def info(self, kind: str, name: str):
        """The driver's RobotInfo for a `group` or `single` motor."""
        return self._core.robot_get_robot_info(kind, name)

    def registers(self, group: str, register: str) -> list[int]:
        """One value per motor of the group that answers: a list that is too short names a motor in trouble."""
        return [int(value) for value in self._core.robot_get_motor_registers("group", group, register)]

    def set_register(self, group: str, register: str, value: int) -> None:
        """Write, and read back: the driver itself does not say whether it wrote."""
        self._core.robot_set_motor_registers("group", group, register, value)
        found = self.registers(group, register)
        if not found or any(entry != value for entry in found):
            raise RuntimeError(
                f"register {register} of {group} reads {found} after {value} was written; is a motor in error? "
                "(docs/hardware.md)"
            )

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=2.0)
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()

    def _on_joint_states(self, raw: bytes, info: dict) -> None:
        self._source.hear(info)
        self._newest = read_joint_states(raw, time.monotonic())

    def _wait_for_states(self, name: str) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(self._node)
        end = time.monotonic() + _STARTUP_S
        while self._newest is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        executor.remove_node(self._node)
        executor.shutdown()
        if self._newest is None:
            raise RuntimeError(
                f"the driver publishes nothing on /{name}/joint_states; is it still starting, or another driver's "
                "namespace?"
            )

    def _spin(self) -> None:
        while not self._closing.is_set():
            try:
                self._executor.spin_once(timeout_sec=0.1)
            except (ExternalShutdownException, ShutdownException):
                return
            except Exception:  # an answer that is none; without this thread no joint state would be heard any more
                logger.exception("what the arm's driver sent")
                self._closing.wait(0.1)


class _BoundedNode(Node):
    """The node that the core waits with: its own way of waiting has no end."""

    def wait_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_S if timeout_sec is None else timeout_sec):
            raise RuntimeError(f"the arm's driver did not answer a request within {ANSWER_S:.0f} s")
