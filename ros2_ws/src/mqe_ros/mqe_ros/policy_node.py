"""The policy as a node: camera images and the arm's poses in, absolute targets out at the control rate.

A managed (lifecycle) node that configures and activates itself at its start, unless `self_activate` is false. The other parameters are read
at each configuration; they stand below.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

from builtin_interfaces.msg import Time as TimeMessage
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.time import Time
from std_msgs.msg import Header

from mqe_core.bundle import PolicyBundle, check_fit
from mqe_core.goals import Goal, check_camera, find_goal, read_goal
from mqe_core.progress import NOT_CLOSER, REACHED, Progress
from mqe_core.runtime.keys import key_folder
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.runtime.policy_side import LATE, Decision, PolicySide
from mqe_core.runtime.remote import RemotePolicy
from mqe_core.runtime.robot import MonotonicClock, check_domain
from mqe_core.spec import load_robot_spec
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import PolicyStatus
from mqe_ros import convert, topics
from mqe_ros.goal_run import GoalRun
from mqe_ros.goal_server import GoalServer
from mqe_ros.managed_node import ManagedNode
from mqe_ros.policy_inputs import Inputs, PolicyInputs
from mqe_ros.running import declare, read, run_node

_OUTCOMES = ReachGoal.Result
_SLOT_S, _REMOTE_SLOT_S = (
    0.04,
    0.1,
)  # after each tick: the shipped policy is ready after 20 to 50 ms; a server's answer may take half a period
_LAST_WORDS_S = 0.3  # DDS loses what it has not delivered when its sender goes


# name, type, default (None: it must be given)
_PARAMETERS = (
    ("policy", str, None),  # a bundle; not needed with policy_server
    ("policy_server", str, ""),  # tcp://HOST:PORT of one that computes the policy, in place of a bundle
    ("server_keys", str, ""),  # folder of the server's keys; empty: ~/.mqe/keys; none: a server without
    ("threads", int, 1),  # of the inference
    ("robot", str, "widowx250s"),
    ("camera_domain", str, None),  # what the camera shows: sim or real
    ("compressed", bool, False),  # read the compressed image topic
    ("goal", str, ""),  # a goal file to pursue from each activation on; empty: none
    ("autostart", bool, True),  # false: show that goal, and wait for /reach_goal
    ("goal_folders", str, ""),  # where goals are looked up by name, joined by ':'
    ("slot_s", float, math.nan),  # published so long after the start of each period; NaN: 0.04, with a server 0.1
    ("reached_steps", float, -1.0),  # steps_to_goal that counts as reached; negative: the bundle's; 0: none does
    ("reached_in_a_row", int, 3),  # commands that have to agree on it
    (
        "stall_commands",
        int,
        -1,
    ),  # so many commands without coming closer end a goal; negative: the bundle's; 0: none do
    ("max_pose_age_s", float, 0.5),  # an older pose of the arm is none
)


class PolicyNode(ManagedNode):
    """Callbacks store the newest messages; the control thread computes, then publishes at a fixed slot."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        for name, kind, default in _PARAMETERS:
            declare(self, name, kind, default)
        self._goals = GoalServer(self)
        self._forget_configuration()

    def _forget_configuration(self) -> None:
        """What `configure` fills."""
        self._connection: OnnxPolicy | RemotePolicy | None = None
        self._policy: PolicySide | None = None
        self._inputs: PolicyInputs | None = None
        self._first_goal: Goal | None = None
        self._command = self._status = self._goal_image = None  # publishers
        self.deadline_misses = 0
        self._goal_name = ""  # in force, or last in force
        self._sequence = 0
        self._is_waiting = False
        self._latency_s: float | None = None
        self._leave_at = -math.inf

    def configure(self) -> None:
        self._spec = load_robot_spec(read(self, "robot"))
        self._connection = policy = self._open_policy()
        contract, self._fingerprint = policy.contract, policy.fingerprint
        self._domain = domain = read(self, "camera_domain")
        check_domain(contract.domain, domain, "the camera")
        # A fixed slot hides the variance of the inference time; it has to be longer than nearly every one.
        slot_s = read(self, "slot_s")
        self._slot_s = (_SLOT_S if isinstance(policy, OnnxPolicy) else _REMOTE_SLOT_S) if math.isnan(slot_s) else slot_s
        if not 0.0 <= self._slot_s < self._spec.control.period_s:
            raise ValueError(
                f"the parameter slot_s must lie within the control period of "
                f"{self._spec.control.period_s} s; got {self._slot_s}"
            )
        reached_steps, stall_commands = read(self, "reached_steps"), read(self, "stall_commands")
        self._reached_steps = contract.reached_steps if reached_steps < 0.0 else reached_steps
        self._stall_commands = contract.stall_commands if stall_commands < 0 else stall_commands or None
        self._reached_in_a_row = read(self, "reached_in_a_row")
        folders = [Path(f) for f in read(self, "goal_folders").split(os.pathsep) if f]
        self._first_goal = self._find_first_goal(folders)
        self._policy = PolicySide(policy, self._spec, MonotonicClock(), gripper=policy.gripper_rule())

        self._command = self.publish_on(topics.COMMAND)
        self._status = self.publish_on(topics.POLICY_STATUS)
        self._goal_image = self.publish_on(topics.GOAL_IMAGE)
        self._inputs = PolicyInputs(self, domain, read(self, "compressed"), read(self, "max_pose_age_s"))
        self._goals.configure(folders, domain, self._spec.camera.name)
        self.get_logger().info(
            f"policy {self._policy_name} ({contract.agent}, {contract.domain} images), session {self._policy.session}"
        )

    def activate(self) -> None:
        self._goals.open()
        goal = self._first_goal
        if goal is not None:
            run = GoalRun(goal.name, goal.image, goal.domain, None, self._goals.on_end(None))
            if read(self, "autostart"):
                self._goals.begin(run)
            else:
                self._show_goal(run)

    def deactivate(self) -> None:
        self._goals.close()

    def cleanup(self) -> None:
        if isinstance(self._connection, RemotePolicy):
            self._connection.close()
        self._forget_configuration()

    def finish(self) -> bool:
        """Whoever asked for a goal hears how it ended before the node goes."""
        if self.lifecycle_state == "active":
            self._leave_at = time.monotonic() + (0.0 if self._goals.settled else _LAST_WORDS_S)
            self._goals.close("stopped")  # as the deactivation would, but for another reason
            self.trigger_deactivate()
        return self._goals.settled and time.monotonic() >= self._leave_at

    def destroy_node(self) -> None:
        self._goals.destroy()
        super().destroy_node()

    def _find_first_goal(self, folders: list[Path]) -> Goal | None:
        name = read(self, "goal")
        if not name:
            return None
        goal = read_goal(find_goal(name, folders))
        check_domain(self._domain, goal.domain, f"the goal {goal.path}")
        check_camera(goal, self._spec.camera.name)
        return goal

    def _open_policy(self) -> OnnxPolicy | RemotePolicy:
        """The bundle, or the server that computes one elsewhere."""
        server, keys = read(self, "policy_server"), read(self, "server_keys") or str(key_folder())
        if not server:
            self._policy_name = read(self, "policy")
            return OnnxPolicy(PolicyBundle.open(self._policy_name, self._spec, threads=read(self, "threads")))
        self._policy_name = server
        timeout = 0.5 * self._spec.control.period_s
        policy = RemotePolicy(server, keys=None if keys == "none" else Path(keys), reply_timeout_s=timeout)
        try:
            check_fit(policy.contract, self._spec)
        except ValueError:
            policy.close()
            raise
        return policy

    def control(self) -> None:
        """Compute at each deadline, publish `slot_s` later; at the end say that nothing more comes."""
        period = self._spec.control.period_s
        start, k = time.monotonic(), 0
        while self.sleep_until(start + k * period):
            goal = self._goals.current
            if goal is not None and not goal.applied:
                # A goal's ticks begin right after an image. Camera periods mostly divide the control period,
                # so its images stay fresh; at a chance phase each could be a camera period older.
                self._inputs.wait_for_image(period)
                start, k = time.monotonic(), 0
            self._step(start + k * period + self._slot_s)
            due = max(k + 1, math.ceil((time.monotonic() - start) / period))
            self.deadline_misses += due - (k + 1)  # periods without a tick; a late slot counts itself
            k = due
        self._forget(self._goals.current)
        self._publish_status(PolicyStatus.IDLE, self._goals.last_end, None)

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        state = self.lifecycle_state
        if self._inputs is None:  # not configured
            return DiagnosticStatus.WARN, f"{state}: {self.problem}" if self.problem else state, {"lifecycle": state}
        goal = self._goals.current
        values = {
            "lifecycle": state,
            "policy": self._policy_name,
            "fingerprint": self._fingerprint,
            "domain": self._domain,
            "images": self._inputs.images,
            "sequence": self._sequence,
            "deadline_misses": self.deadline_misses,
            "latency_ms": "" if self._latency_s is None else f"{1e3 * self._latency_s:.1f}",
        }
        if state != "active":
            return DiagnosticStatus.WARN, state, values
        return DiagnosticStatus.OK, f"goal {goal.name}" if goal else "no goal", values

    def _step(self, slot: float) -> None:
        """One control period."""
        goal = self._goals.current
        if goal is not None:
            self._apply(goal)
        if goal is None or goal.result is not None:
            self._forget(goal)
            self.sleep_until(slot)
            self._publish_status(PolicyStatus.IDLE, self._goals.last_end, None)
            return
        try:
            inputs = self._inputs.read()
            decision = self._policy.compute(inputs.frame, inputs.measured_pose, inputs.target_pose)
            reason = ": ".join(filter(None, (decision.held, decision.detail)))
        except ValueError as error:
            inputs, decision, reason = None, None, str(error)
        if time.monotonic() > slot:
            self.deadline_misses += 1
        going_on = self.sleep_until(slot)
        late = time.monotonic() - slot
        if not reason and late > self._spec.control.period_s:  # this process stood still: what it saw has gone by
            reason = f"{LATE}: the command was ready {late:.2f} s after its time"
        # The goal may have ended meanwhile: then nothing is sent any more.
        if going_on and not reason and goal.result is None:
            self._publish_command(goal, decision, inputs)
        self._publish_status(PolicyStatus.WAITING if reason else PolicyStatus.RUNNING, reason, goal)
        self._tell_waiting(reason)
        self._forget(goal)

    def _tell_waiting(self, reason: str) -> None:
        """A line on the terminal when it begins, and when it is over."""
        if bool(reason) != self._is_waiting:
            self._is_waiting = bool(reason)
            self.get_logger().info(f"waiting: {reason}" if reason else "running")

    def _apply(self, goal: GoalRun) -> None:
        """Make the goal the policy's, or end it where it cannot be or need not be pursued any longer."""
        if goal.handle is not None and goal.handle.is_cancel_requested:
            goal.end(_OUTCOMES.CANCELED, "by the client")
        elif goal.overdue:
            goal.end(_OUTCOMES.TIMEOUT, "the time is up")
        elif not goal.applied:
            try:
                self._policy.set_goal(goal.image, goal.domain)
            except ValueError as error:
                goal.end(_OUTCOMES.FAILED, str(error))
                return
            goal.applied = True
            goal.progress = Progress(self._reached_steps, self._stall_commands, self._reached_in_a_row)
            self._goal_name = goal.name
            self._show_goal(goal)

    def _forget(self, goal: GoalRun | None) -> None:
        """Stop pursuing a goal that has ended."""
        if goal is not None and goal.result is not None and self._goals.forget(goal):
            self._policy.clear_goal()

    def _show_goal(self, goal: GoalRun) -> None:
        stamp, camera = self.now_message(), self._spec.camera.name
        self._goal_image.publish(convert.array_to_image(goal.image, stamp, camera))

    def _publish_command(self, goal: GoalRun, decision: Decision, inputs: Inputs) -> None:
        """Publish it, and end the goal where it is reached or stalled."""
        stamp = self.now_message()
        self._latency_s = _seconds_between(inputs.image_stamp, stamp)
        self._sequence = decision.command.sequence
        output = decision.output
        self._command.publish(
            convert.command_to_message(decision.command, output.action, output.steps_to_goal, stamp, inputs.image_stamp)
        )
        progress = goal.count_step(output.steps_to_goal)
        if progress == REACHED:
            near = f"within {self._reached_steps:.2g} steps of the goal for {self._reached_in_a_row} commands"
            goal.end(_OUTCOMES.REACHED, near)
        elif progress == NOT_CLOSER:
            goal.end(_OUTCOMES.STALLED, f"{NOT_CLOSER}: not for {self._stall_commands} commands")

    def _publish_status(self, state: str, reason: str, goal: GoalRun | None) -> None:
        steps_to_goal = convert.number(goal.steps_to_goal if goal else None)
        self._status.publish(
            PolicyStatus(
                header=Header(stamp=self.now_message()),
                state=state,
                reason=reason,
                goal=self._goal_name,
                session=self._policy.session,
                sequence=self._sequence,
                steps_to_goal=steps_to_goal,
                latency_ms=convert.number(None if self._latency_s is None else 1e3 * self._latency_s),
                deadline_misses=self.deadline_misses,
            )
        )
        if goal is not None and goal.handle is not None and goal.result is None:
            goal.handle.publish_feedback(
                ReachGoal.Feedback(steps_to_goal=steps_to_goal, steps=goal.steps, state=state, reason=reason)
            )


def _seconds_between(earlier: TimeMessage, later: TimeMessage) -> float:
    return 1e-9 * (Time.from_msg(later) - Time.from_msg(earlier)).nanoseconds


def main() -> None:
    sys.exit(run_node(PolicyNode))


if __name__ == "__main__":
    main()
