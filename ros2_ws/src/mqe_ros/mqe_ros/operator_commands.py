"""An operator's commands, for as long as his hand counts: one at once, and then one in each control period.

Whoever has the hand (a pad's node, the console's) says what it wants; this sends it, at the robot's rate.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import MonotonicClock
from mqe_core.runtime.teleop.dead_man import Wish
from mqe_core.runtime.teleop.devices import Devices
from mqe_core.runtime.teleop.operator_side import OperatorSide, Speeds, per_period
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert, topics
from mqe_ros.arm_answers import ArmAnswers
from mqe_ros.arm_inputs import ArmInputs, ArmPoses
from mqe_ros.running import ControlNode

_LOOK_S = 0.02  # how often the dead-man is looked at while it is not held
_MAX_POSE_AGE_S = 0.5


class OperatorCommands:
    """Sends on /operator/command. `run` belongs to the node's control thread; the rest may be called from any.

    Args:
        wish: what the operator wants at a monotonic time.
    """

    def __init__(self, node: ControlNode, spec: RobotSpec, devices: Devices, wish: Callable[[float], Wish]) -> None:
        self._node, self._spec, self._devices, self._wish = node, spec, devices, wish
        self._speeds = Speeds(devices)
        self._side = OperatorSide(spec, MonotonicClock())
        self._answers = ArmAnswers(self._side.session)
        self._lock = threading.Lock()  # of all that callbacks and the control thread share
        self._status: ArmStatus | None = None  # the newest
        self._toggled = False  # the gripper, since the last command
        self._why_not = ""  # as told last
        self._arm = ArmInputs(node, spec, _MAX_POSE_AGE_S)
        self._command = node.publish_on(topics.OPERATOR_COMMAND)
        node.subscribe_to(topics.ARM_STATUS, self._on_status)

    @property
    def share(self) -> float:
        """The speed that is chosen: a share of the fastest."""
        with self._lock:
            return self._speeds.share

    def change_speed(self, steps: int) -> None:
        """Faster by so many steps, or slower."""
        with self._lock:
            self._speeds.change(steps)

    def toggle_gripper(self) -> None:
        """With the next command."""
        with self._lock:
            self._toggled = not self._toggled

    def run(self) -> None:
        """Send while the wish is engaged; returns where the node is to stop."""
        period, due, last = self._spec.control.period_s, time.monotonic(), -float("inf")
        was_engaged = False
        while self._node.sleep_until(due):
            now = time.monotonic()
            wish = self._wish(now)
            self._tell(wish)
            if wish.engaged and now - last < 0.9 * period:  # let go and pressed again at once
                due = last + period
                continue
            if wish.engaged:
                if not was_engaged:
                    self._begin()
                self._send(wish)
                # From tick to tick without a drift, but never two commands at once after this process stood still.
                last = due if was_engaged and now - due < 0.5 * period else now
                due = last + period
            else:
                due = now + _LOOK_S
            was_engaged = wish.engaged

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        """As `ControlNode.diagnose`."""
        with self._lock:
            why_not, share = self._why_not, self._speeds.share
        _, refusal = self._answers.refused
        figures = {"session": self._side.session, "sequence": self._side.sequence, "speed": share}
        if refusal and not why_not:
            return DiagnosticStatus.WARN, refusal, figures
        return DiagnosticStatus.OK, why_not or "the operator has the arm", figures

    def _on_status(self, status: ArmStatus) -> None:
        with self._lock:
            self._status = status
        self._answers.hear(status)

    def _tell(self, wish: Wish) -> None:
        """A line on the terminal when the operator takes the arm or lets it go."""
        with self._lock:
            last, self._why_not = self._why_not, wish.why_not
        if wish.why_not != last:
            self._node.get_logger().info(wish.why_not or "the operator has the arm")

    def _begin(self) -> None:
        with self._lock:
            self._toggled = False
        self._side.begin()

    def _send(self, wish: Wish) -> None:
        try:
            poses, gripper = self._poses()
        except ValueError as error:
            self._node.get_logger().warning(f"nothing is sent: {error}", throttle_duration_sec=2.0)
            return
        with self._lock:
            toggled, self._toggled = self._toggled, False
            share = self._speeds.share
        if toggled:
            self._side.toggle_gripper(gripper)
        motion = per_period(wish.motion, self._devices, share, self._spec.control.period_s)
        command, action = self._side.command(motion, poses.target, poses.measured, gripper)
        self._answers.send(command.sequence)
        stamp = self._node.now_message()
        self._command.publish(convert.command_to_message(command, action, None, stamp, convert.NO_OBSERVATION))
        _, refusal = self._answers.refused
        if refusal:
            self._node.get_logger().warning(refusal, throttle_duration_sec=2.0)

    def _poses(self) -> tuple[ArmPoses, float]:
        """The arm's poses, and the opening that it was sent last. ValueError where they are not known."""
        try:
            poses = self._arm.read()
        except ValueError as error:
            raise ValueError(self._arm.problem() or str(error)) from error
        if several := self._arm.problem():
            self._arm.forget()
            raise ValueError(several)
        self._arm.check(poses)
        with self._lock:
            status = self._status
        if status is None or math.isnan(status.target_gripper):
            raise ValueError("the arm has not told yet how far its gripper is open")
        return poses, min(max(status.target_gripper, 0.0), 1.0)
