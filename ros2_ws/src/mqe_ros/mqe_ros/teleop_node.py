"""An operator's pad: its messages become commands of the operator's rank, for as long as the dead-man is held.

Its parameters are `parameters.TELEOP_NODE`. The arm's limits stand between it and the motors as before any policy.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.robot.episode_marks import DISCARD
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import MonotonicClock
from mqe_core.runtime.teleop.dead_man import DeadMan, Wish
from mqe_core.runtime.teleop.devices import EPISODE, FASTER, GRIPPER, HOLD, RESUME, SLOWER, load_devices
from mqe_core.runtime.teleop.operator_side import OperatorSide, Speeds, per_period
from mqe_core.runtime.teleop.pad import Pad
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert, topics
from mqe_ros.arm_answers import ArmAnswers
from mqe_ros.arm_inputs import ArmInputs, ArmPoses
from mqe_ros.asking import ANSWERED
from mqe_ros.episode_marker import EpisodeMarker
from mqe_ros.parameters import TELEOP_NODE
from mqe_ros.running import ControlNode, run_node

_LOOK_S = 0.02  # how often the dead-man is looked at while it is not held
_MAX_POSE_AGE_S = 0.5


class TeleopNode(ControlNode):
    """Callbacks note what the pad says, and ask for holds and resumes; the control thread sends at the robot's rate."""

    def __init__(self) -> None:
        super().__init__("teleop_node", TELEOP_NODE)
        self._spec = load_robot_spec(self.value_of("robot"))
        own = self.value_of("devices")
        self._devices = load_devices(Path(own).expanduser() if own else None)
        self._pad = Pad(self._devices.pad(self.value_of("pad")), self._devices)
        self._dead_man = DeadMan(self.value_of("max_joy_age_s"))
        self._speeds = Speeds(self._devices)
        self._side = OperatorSide(self._spec, MonotonicClock())
        self._answers = ArmAnswers(self._side.session)
        self._lock = threading.Lock()  # of all that the callbacks and the control thread share
        self._status: ArmStatus | None = None  # the newest
        self._toggled = False  # the gripper, since the last command
        self._why_not = ""  # as told last
        self._pads = self.one_publisher(topics.JOY)
        self._arm = ArmInputs(self, self._spec, _MAX_POSE_AGE_S)
        self._command = self.publish_on(topics.OPERATOR_COMMAND)
        self._arm_services = {
            act: self.create_client(Trigger, name, qos_profile=ANSWERED)
            for act, name in ((HOLD, ros_names.HOLD), (RESUME, ros_names.RESUME))
        }
        self._recording = EpisodeMarker(self)
        self.subscribe_to(topics.ARM_STATUS, self._on_status)
        self.subscribe_to(topics.JOY, self._on_joy)
        self.get_logger().info(f"listening on {topics.JOY.name} for {self._pad.spec.title}")

    def control(self) -> None:
        """A command at once when the dead-man is pressed, and then one in each control period."""
        period, due, last = self._spec.control.period_s, time.monotonic(), -float("inf")
        was_engaged = False
        while self.sleep_until(due):
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
        with self._lock:
            why_not, share = self._why_not, self._speeds.share
        _, refusal = self._answers.refused
        figures = {"session": self._side.session, "sequence": self._side.sequence, "speed": share}
        if refusal and not why_not:
            return DiagnosticStatus.WARN, refusal, figures
        return DiagnosticStatus.OK, why_not or "the operator has the arm", {**figures, "pad": self._pad.spec.name}

    def _on_status(self, status: ArmStatus) -> None:
        with self._lock:
            self._status = status
        self._answers.hear(status)

    def _on_joy(self, message: Joy) -> None:
        now = time.monotonic()
        with self._lock:
            try:
                reading = self._pad.read(message.axes, message.buttons)
            except ValueError as error:
                self._dead_man.doubt(str(error))
                raise
            pressed = self._dead_man.hear(reading, now)
            self._speeds.change((FASTER in pressed) - (SLOWER in pressed))
            if GRIPPER in pressed and self._dead_man.wish(now).engaged:
                self._toggled = not self._toggled
            if HOLD in pressed:
                self._dead_man.doubt("held by the pad's button; mqe arm resume, or the pad's button for it")
        for act in (HOLD, RESUME):
            if act in pressed:
                self._ask(act)
        if EPISODE in pressed:
            self._recording.begin_or_end()
        if DISCARD in pressed:
            self._recording.mark(DISCARD)
        if pressed & {FASTER, SLOWER}:
            self.get_logger().info(f"speed {self._speeds.share:.2f}")

    def _ask(self, act: str) -> None:
        client = self._arm_services[act]
        if not client.service_is_ready():
            self.get_logger().error(f"{act}: no arm_node answers; in doubt cut the arm's power")
            return
        answered = client.call_async(Trigger.Request())
        answered.add_done_callback(lambda done: self.get_logger().info(f"{act}: {done.result().message}"))

    def _wish(self, now: float) -> Wish:
        several = self._pads.problem()
        with self._lock:
            if several:
                self._dead_man.doubt(several)
            return self._dead_man.wish(now)

    def _tell(self, wish: Wish) -> None:
        """A line on the terminal when the operator takes the arm or lets it go."""
        with self._lock:
            last, self._why_not = self._why_not, wish.why_not
        if wish.why_not != last:
            self.get_logger().info(wish.why_not or "the operator has the arm")

    def _begin(self) -> None:
        with self._lock:
            self._toggled = False
        self._side.begin()

    def _send(self, wish: Wish) -> None:
        try:
            poses, gripper = self._poses()
        except ValueError as error:
            self.get_logger().warning(f"nothing is sent: {error}", throttle_duration_sec=2.0)
            return
        with self._lock:
            toggled, self._toggled = self._toggled, False
            share = self._speeds.share
        if toggled:
            self._side.toggle_gripper(gripper)
        motion = per_period(wish.motion, self._devices, share, self._spec.control.period_s)
        command, action = self._side.command(motion, poses.target, poses.measured, gripper)
        self._answers.send(command.sequence)
        stamp = self.now_message()
        self._command.publish(convert.command_to_message(command, action, None, stamp, convert.NO_OBSERVATION))
        _, refusal = self._answers.refused
        if refusal:
            self.get_logger().warning(refusal, throttle_duration_sec=2.0)

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


def main() -> None:
    sys.exit(run_node(TeleopNode))


if __name__ == "__main__":
    main()
