"""An operator's pad: its messages become commands of the operator's rank, for as long as the dead-man is held.

Its parameters are `parameters.TELEOP_NODE`. The arm's limits stand between it and the motors as before any policy.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.robot.episode_marks import DISCARD
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.teleop.dead_man import DeadMan, Wish
from mqe_core.runtime.teleop.devices import EPISODE, FASTER, GRIPPER, HOLD, RESUME, SLOWER, load_devices
from mqe_core.runtime.teleop.pad import Pad
from mqe_ros import topics
from mqe_ros.asking import ANSWERED
from mqe_ros.episode_marker import EpisodeMarker
from mqe_ros.operator_commands import OperatorCommands
from mqe_ros.parameters import TELEOP_NODE
from mqe_ros.running import ControlNode, run_node


class TeleopNode(ControlNode):
    """Callbacks note what the pad says, and ask for holds and resumes; the control thread sends at the robot's rate."""

    def __init__(self) -> None:
        super().__init__("teleop_node", TELEOP_NODE)
        own = self.value_of("devices")
        devices = load_devices(Path(own).expanduser() if own else None)
        self._pad = Pad(devices.pad(self.value_of("pad")), devices)
        self._dead_man = DeadMan(self.value_of("max_joy_age_s"))
        self._lock = threading.Lock()  # of the dead-man, which the callbacks and the control thread share
        self._pads = self.one_publisher(topics.JOY)
        self._commands = OperatorCommands(self, load_robot_spec(self.value_of("robot")), devices, self._wish)
        self._arm_services = {
            act: self.create_client(Trigger, name, qos_profile=ANSWERED)
            for act, name in ((HOLD, ros_names.HOLD), (RESUME, ros_names.RESUME))
        }
        self._recording = EpisodeMarker(self)
        self.subscribe_to(topics.JOY, self._on_joy)
        self.get_logger().info(f"listening on {topics.JOY.name} for {self._pad.spec.title}")

    def control(self) -> None:
        self._commands.run()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        level, said, figures = self._commands.diagnose()
        return level, said, {**figures, "pad": self._pad.spec.name}

    def _on_joy(self, message: Joy) -> None:
        now = time.monotonic()
        with self._lock:
            try:
                reading = self._pad.read(message.axes, message.buttons)
            except ValueError as error:
                self._dead_man.doubt(str(error))
                raise
            pressed = self._dead_man.hear(reading, now)
            toggles = GRIPPER in pressed and self._dead_man.wish(now).engaged
            if HOLD in pressed:
                self._dead_man.doubt("held by the pad's button; mqe arm resume, or the pad's button for it")
        if toggles:
            self._commands.toggle_gripper()
        for act in (HOLD, RESUME):
            if act in pressed:
                self._ask(act)
        if EPISODE in pressed:
            self._recording.begin_or_end()
        if DISCARD in pressed:
            self._recording.mark(DISCARD)
        if pressed & {FASTER, SLOWER}:
            self._commands.change_speed((FASTER in pressed) - (SLOWER in pressed))
            self.get_logger().info(f"speed {self._commands.share:.2f}")

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


def main() -> None:
    sys.exit(run_node(TeleopNode))


if __name__ == "__main__":
    main()
