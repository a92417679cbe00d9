"""The arm's side as a node: it owns the target, judges every command, and publishes what the arm really does.

Its parameters are `parameters.ARM_NODE`. All limits live here (mqe_core.runtime.safety.safety_filter), whatever
process sends the commands.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.robot.ranks import OPERATOR, POLICY
from mqe_core.robot.safety_rules import FAULT, HELD
from mqe_core.robot.spec import load_robot_spec, with_table_height
from mqe_core.runtime.arm_side import ArmSide
from mqe_core.runtime.backends import make_backend, make_robot
from mqe_core.runtime.robot import Command, MonotonicClock, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_interfaces.msg import EndEffectorCommand
from mqe_ros import convert, topics, transports
from mqe_ros.dry_run import DryRunRobot
from mqe_ros.heartbeat import Heartbeat
from mqe_ros.markers import IntendedPath
from mqe_ros.only_arm import become_only_arm
from mqe_ros.parameters import ARM_NODE
from mqe_ros.remedies import with_remedy
from mqe_ros.running import ControlNode, run_node

_LOCK_PATIENCE_S = 1.0


class ArmNode(ControlNode):
    """Commands are judged and sent in their callback; the control thread ticks the state machine."""

    def __init__(self) -> None:
        super().__init__("arm_node", ARM_NODE)
        self._spec = load_robot_spec(self.value_of("robot"))
        backend = self.value_of("backend")
        self._set_table(self.value_of("table_height_m"), backend)
        address = self.value_of("address")
        self._dry_run = self.value_of("dry_run")
        # Motors that keep their torque would hold an arm up in the air for hours: on hardware it goes to rest first.
        self._park_on_exit = self.value_of("park_on_exit", otherwise=backend == "hardware")
        self._parking = False
        # At a multiple of the control rate, so that the policy finds a pose that is at most 1/state_hz old.
        state_hz = self.value_of("state_hz")
        self._states_per_tick = max(1, round(state_hz / self._spec.control.control_hz))
        self._only = become_only_arm(self.get_logger().warning)
        if transports.speaks_shared_memory():
            self.get_logger().warning(
                "this process speaks shared memory, so another user of this machine, or a container, may not be able "
                f"to hold the arm: start it as `ros2 run mqe_ros arm_node`, and look at {transports.VARIABLE}"
            )
        clock, options = MonotonicClock(), {"address": address} if address else {}
        if self._dry_run and backend == "hardware":
            options["drive"] = False
        if self._dry_run:
            robot = make_backend("mqe.robots", backend, self._spec, clock=clock, **options)
            self._robot = SafeRobot(DryRunRobot(robot), self._spec, clock)
        else:
            self._robot = make_robot(backend, self._spec, clock=clock, **options)
        self._side = ArmSide(self._robot, clock)
        self._lock = threading.Lock()  # one at a time speaks to the robot: a callback or the control thread
        self._newest: Command | None = None  # what became of the newest command
        self._commands = 0
        self._target: np.ndarray | None = None  # (4, 4), as last published
        self._target_gripper = math.nan  # the opening that goes with it
        self._heartbeat = Heartbeat(self._spec.control.max_command_age_s)
        self._path = IntendedPath(self._spec, self._dry_run)

        self._ee_pose = self.publish_on(topics.EE_POSE)
        self._ee_target = self.publish_on(topics.EE_TARGET)
        self._joint_states = self.publish_on(topics.JOINT_STATES)
        self._status = self.publish_on(topics.ARM_STATUS)
        self._intended_path = self.publish_on(topics.INTENDED_PATH)
        for topic, rank in ((topics.COMMAND, POLICY), (topics.OPERATOR_COMMAND, OPERATOR)):
            self.subscribe_to(topic, partial(self._on_command, rank))
        for name, answer in (
            (ros_names.HOLD, self._on_hold),
            (ros_names.RESUME, self._on_resume),
            (ros_names.HOME, self._on_home),
        ):
            self.create_service(Trigger, name, self._or_end(answer))
        self.get_logger().info(
            f"arm {self._spec.name}, backend {backend}{', DRY RUN: nothing is sent' if self._dry_run else ''}"
        )

    def _set_table(self, height_m: float, backend: str) -> None:
        if math.isfinite(height_m):
            self._spec = with_table_height(self._spec, height_m)
        elif backend == "hardware":
            raise ValueError(
                "the parameter table_height_m must be given for a real arm: metres from its mounting plane up to "
                "the table"
            )

    def control(self) -> None:
        """Publish the state at `state_hz`; tick the state machine once per control period."""
        tick_period = self._spec.control.period_s
        state_period = tick_period / self._states_per_tick
        start, k, last_tick = time.monotonic(), 0, -math.inf
        while self.sleep_until(start + k * state_period):
            self._heartbeat.beat(time.monotonic())
            # A late tick shortens no later one to less than half a period: homing sends once per tick, and
            # that would be too soon.
            if time.monotonic() - last_tick > tick_period - 0.5 * state_period:
                last_tick = time.monotonic()
                self._tick()
            else:
                self._publish_newest_state()
            k = max(k + 1, int((time.monotonic() - start) / state_period))

    def finish(self) -> bool:
        """Park where that is wanted; an arm that is held or faulty stays where it is."""
        with self._lock:
            if not self._park_on_exit or self._dry_run:
                return True
            if not self._parking and self._side.state not in (HELD, FAULT):
                self._side.park()
            self._parking = True
            return not self._side.moves_itself

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            # A control thread that does not end may be within the robot, with the lock.
            if self._lock.acquire(timeout=_LOCK_PATIENCE_S):
                try:
                    self._side.hold("shutdown")
                finally:
                    self._robot.close()
                    self._only.close()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        with self._lock:
            state, reason, counts = self._side.state, self._side.reason, dict(self._robot.counts)
        level = {FAULT: DiagnosticStatus.ERROR, HELD: DiagnosticStatus.WARN}.get(state, DiagnosticStatus.OK)
        return (
            level,
            f"{state}: {with_remedy(reason)}" if reason else state,
            {"commands": self._commands, "dry_run": self._dry_run, "commander": self._side.commander, **counts},
        )

    def _on_command(self, rank: str, message: EndEffectorCommand) -> None:
        asked = convert.message_to_command(message, self._heartbeat.earliest_arrival(time.monotonic()))
        self._or_end(self._take)(asked, rank)

    def _or_end(self, action: Callable) -> Callable:
        """What fails in `action` ends the node, which holds the arm: nothing that moves it is passed over."""

        def act(*arguments):
            try:
                return action(*arguments)
            except Exception as error:
                self.failure = self.failure or error
                raise

        return act

    def _take(self, asked: Command, rank: str) -> None:
        with self._lock:
            if self._dry_run:
                self._stay()
            before = self._target
            answer = self._side.receive(asked, rank)
            self._newest = answer
            self._commands += 1
            is_sent = answer.refused is None and not self._dry_run
            if is_sent:
                self._target_gripper = answer.gripper
            self._publish_status()
            stamp = self.now_message()
            if is_sent:
                self._publish_target(answer.pose, stamp)
        if answer.refused is not None:
            self.get_logger().warning(f"command refused: {answer.refused}: {answer.detail}", throttle_duration_sec=5.0)
        if before is not None:
            self._intended_path.publish(self._path.markers(before, answer, stamp))

    def _stay(self) -> None:
        """In a dry run: judge a command as a first step, from where the arm is now. Call with the lock held."""
        with contextlib.suppress(RuntimeError):  # an arm that cannot be read: the command is refused for that
            self._robot.rebase()

    def _on_hold(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._side.hold()
            self._publish_status()
        self.get_logger().info("held")
        response.success, response.message = True, "holding the last sent target until /arm/resume (mqe arm resume)"
        return response

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, self._side.resume)

    def _on_home(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._answer(response, self._start_homing)

    def _start_homing(self) -> str:
        if self._dry_run:
            raise RuntimeError("a dry run moves nothing; start without dry_run to home")
        self._side.home()
        return "homing; /arm/status says when it is done, /arm/hold stops it"

    def _answer(self, response: Trigger.Response, action: Callable[[], str]) -> Trigger.Response:
        with self._lock:
            try:
                response.success, response.message = True, action()
            except RuntimeError as error:
                response.success, response.message = False, str(error)
            self._publish_status()
        self.get_logger().info(response.message)
        return response

    def _tick(self) -> None:
        with self._lock:
            report = self._side.tick()
            self._publish_status()
            if report.arm is not None:
                self._publish_state(report.arm)

    def _publish_newest_state(self) -> None:
        with self._lock:
            try:
                self._publish_state(self._robot.observe())
            except RuntimeError:  # the tick says so in the status; a joint state is never made up
                return

    def _publish_state(self, state: RobotState) -> None:
        """Call with the lock held: or an older target may be published last, as the newest."""
        stamp = self.stamp_message(state.stamp)
        self._target_gripper = state.target_gripper
        self._ee_pose.publish(convert.stamped_pose(state.pose, stamp, self._spec.base_frame))
        self._publish_target(state.target_pose, stamp)
        self._joint_states.publish(convert.joint_state(state, self._spec, stamp))

    def _publish_target(self, pose: np.ndarray, stamp: Time) -> None:
        """Call with the lock held."""
        self._target = pose
        self._ee_target.publish(convert.stamped_pose(pose, stamp, self._spec.base_frame))

    def _publish_status(self) -> None:
        """Call with the lock held."""
        self._status.publish(
            convert.arm_status(self._side, self._newest, self._target_gripper, self._dry_run, self.now_message())
        )


def main() -> None:
    sys.exit(run_node(ArmNode))


if __name__ == "__main__":
    main()
