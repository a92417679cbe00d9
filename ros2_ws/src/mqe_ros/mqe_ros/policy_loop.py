"""The policy's control periods: compute at the tick, publish at the slot, and end the goal when its end has come."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mqe_core.policy.familiarity import PictureWarning
from mqe_core.policy.goal_progress import NOT_CLOSER, REACHED, Progress
from mqe_core.policy.reachability import IN_A_ROW, UNREACHABLE
from mqe_core.runtime.policy_reasons import LATE
from mqe_core.runtime.policy_side import PolicyOutput, PolicySide
from mqe_core.runtime.robot import Command, MonotonicClock
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import PolicyStatus
from mqe_ros import convert, topics
from mqe_ros.arm_answers import ArmAnswers
from mqe_ros.candidate_markers import CandidateMarkers
from mqe_ros.goal_run import GoalRun
from mqe_ros.goal_server import GoalServer
from mqe_ros.policy_configuration import PolicyConfiguration
from mqe_ros.policy_inputs import Inputs, PolicyInputs
from mqe_ros.running import ControlNode

_OUTCOMES = ReachGoal.Result
_ANSWER_S = 0.05  # for the arm's answer to a goal's last command; it takes some milliseconds


@dataclass(frozen=True, eq=False)
class _Ready:
    """A command that waits for its slot."""

    command: Command
    output: PolicyOutput
    observation: convert.Observation
    inputs: Inputs


class PolicyLoop:
    """One session of commands; `run` is the body of the node's control thread.

    Args:
        node: publishes, and tells when to stop.
        goals: where the goal in force comes from.
    """

    def __init__(
        self, node: ControlNode, configuration: PolicyConfiguration, inputs: PolicyInputs, goals: GoalServer
    ) -> None:
        self._node, self._configuration, self._inputs, self._goals = node, configuration, inputs, goals
        policy, spec = configuration.policy, configuration.spec
        limit = configuration.unreachable_steps
        self._side = PolicySide(policy, spec, MonotonicClock(), gripper=policy.gripper_rule(), unreachable_steps=limit)
        familiarity = policy.contract.familiarity
        self._pictures = PictureWarning(None if familiarity is None else familiarity.most_outside)
        self._period = spec.control.period_s
        self._command = node.publish_on(topics.COMMAND)
        self._status = node.publish_on(topics.POLICY_STATUS)
        self._goal_image = node.publish_on(topics.GOAL_IMAGE)
        self._candidates = node.publish_on(topics.CANDIDATES) if policy.contract.chooses else None
        self._markers = CandidateMarkers(spec)
        self._show_reference()
        self._answers = ArmAnswers(self.session)
        node.subscribe_to(topics.ARM_STATUS, self._answers.hear)
        self._goal_name = ""  # in force, or last in force
        self._sequence = 0
        self._deadline_misses = 0
        self._is_waiting = False
        self._latency_s: float | None = None  # of the newest command, from its image

    @property
    def session(self) -> str:
        return self._side.session

    def run(self) -> None:
        """Go through control periods until the node is to stop, then say that nothing more comes."""
        start, k = time.monotonic(), 0
        while self._node.sleep_until(start + k * self._period):
            goal = self._goals.current
            if goal is not None and not goal.applied:
                # A goal's ticks begin right after an image. Camera periods mostly divide the control period,
                # so its images stay fresh; at a chance phase each could be a camera period older.
                self._inputs.wait_for_image(self._period)
                start, k = time.monotonic(), 0
            self._step(start + k * self._period + self._configuration.slot.seconds)
            due = max(k + 1, math.ceil((time.monotonic() - start) / self._period))
            self._deadline_misses += due - (k + 1)  # periods without a tick; a command after its slot counts itself
            k = due
        self._forget(self._goals.current)
        self._publish_status(PolicyStatus.IDLE, self._goals.last_end, None)

    def show_goal(self, goal: GoalRun) -> None:
        """Publish its picture."""
        stamp, camera = self._node.now_message(), self._configuration.spec.camera.name
        self._goal_image.publish(convert.array_to_image(goal.image, stamp, camera))

    def _show_reference(self) -> None:
        """Publish what the policy's camera saw in training; no other policy has that topic."""
        picture = self._configuration.policy.contract.reference
        if picture is not None:
            stamp, camera = self._node.now_message(), self._configuration.spec.camera.name
            self._node.publish_on(topics.REFERENCE_IMAGE).publish(convert.array_to_image(picture, stamp, camera))

    def input_problem(self) -> str:
        """What is wrong with who publishes the inputs, also while no goal is in force; else empty."""
        return self._inputs.problem()

    def picture_problem(self) -> str:
        """Whether the newest pictures are unlike the training data, in words; else empty."""
        return self._pictures.text

    def figures(self) -> dict[str, object]:
        """What /diagnostics tells of the loop."""
        slot, limit = self._configuration.slot, self._configuration.unreachable_steps
        return {
            "images": self._inputs.images,
            "sequence": self._sequence,
            "deadline_misses": self._deadline_misses,
            "latency_ms": "" if self._latency_s is None else f"{1e3 * self._latency_s:.1f}",
            "slot_ms": f"{1e3 * slot.seconds:.1f}",
            "slot": slot.origin,
            "unreachable_steps": "" if limit is None else limit,
            "last_end": self._goals.last_end,
            "picture_outside": "" if self._pictures.newest is None else f"{self._pictures.newest:.4f}",
        }

    def _step(self, publish_at: float) -> None:
        """One control period. Its command is published at `publish_at`, a monotonic time: the tick plus the slot."""
        goal = self._goals.current
        if goal is not None:
            self._apply(goal)
        if goal is None or goal.result is not None:
            self._forget(goal)
            self._node.sleep_until(publish_at)
            self._publish_status(PolicyStatus.IDLE, self._goals.last_end, None)
            return
        decided = self._decide(goal)
        if time.monotonic() > publish_at:
            self._deadline_misses += 1
        going_on = self._node.sleep_until(publish_at)
        late = time.monotonic() - publish_at
        if isinstance(decided, _Ready) and late > self._period:  # this process stood still: what it saw has gone by
            decided = f"{LATE}: the command was ready {late:.2f} s after its time"
        # The goal may have ended meanwhile: then nothing is sent any more.
        if isinstance(decided, _Ready) and going_on and goal.result is None:
            self._publish_command(goal, decided)
        reason = "" if isinstance(decided, _Ready) else decided
        state = PolicyStatus.WAITING if reason else PolicyStatus.RUNNING
        self._publish_status(state, reason or goal.refusal or self._pictures.text, goal)
        if goal.result is None:
            self._tell_waiting(reason)
        self._forget(goal)

    def _decide(self, goal: GoalRun) -> _Ready | str:
        """The next command, or why there is none. A goal that is refused ends."""
        try:
            inputs = self._inputs.read()
            decision = self._side.compute(inputs.frame, inputs.measured_pose, inputs.target_pose)
        except ValueError as error:
            return str(error)
        if decision.output is not None:
            goal.steps_to_goal = decision.output.steps_to_goal
            self._note_picture(decision.output.outside)
        if decision.reason == UNREACHABLE:
            self._refuse(goal, decision.detail)
        if decision.asked is None or decision.output is None:
            return ": ".join(filter(None, (decision.reason, decision.detail)))
        return _Ready(decision.asked, decision.output, convert.observation(inputs.image), inputs)

    def _note_picture(self, outside: float | None) -> None:
        """With a line in the log when pictures become unlike the training data."""
        before = self._pictures.text
        self._pictures.update(outside)
        if self._pictures.text and not before:
            self._node.get_logger().warning(self._pictures.text)

    def _refuse(self, goal: GoalRun, why: str) -> None:
        if goal.steps:  # what the arm answered to the last commands
            self._answers.wait_for(self._sequence, _ANSWER_S)
            goal.refused, goal.refusal = self._answers.refused
        seen = f"{why}, for {IN_A_ROW} pictures in a row: is it of another scene?"
        goal.end(_OUTCOMES.UNREACHABLE, f"{seen} mqe goal send --anyway pursues it all the same")

    def _tell_waiting(self, reason: str) -> None:
        """A line on the terminal when waiting begins, and when it is over."""
        if bool(reason) != self._is_waiting:
            self._is_waiting = bool(reason)
            self._node.get_logger().info(f"waiting: {reason}" if reason else "running")

    def _apply(self, goal: GoalRun) -> None:
        """Make the goal the policy's, or end it where it cannot be or need not be pursued any longer."""
        if goal.applied:
            goal.refused, goal.refusal = self._answers.refused
        if goal.handle is not None and goal.handle.is_cancel_requested:
            goal.end(_OUTCOMES.CANCELED, "by the client")
        elif goal.overdue:
            goal.end(_OUTCOMES.TIMEOUT, goal.with_nearest("the time is up"))
        elif not goal.applied:
            try:
                self._side.set_goal(goal.image, goal.domain, anyway=goal.anyway)
            except ValueError as error:
                goal.end(_OUTCOMES.FAILED, str(error))
                return
            goal.applied = True
            self._answers.begin()
            now = self._configuration
            goal.progress = Progress(now.reached_steps, now.stall_commands, now.reached_in_a_row)
            self._goal_name = goal.name
            self.show_goal(goal)

    def _forget(self, goal: GoalRun | None) -> None:
        """Stop pursuing a goal that has ended."""
        if goal is not None and goal.result is not None and self._goals.forget(goal):
            self._side.clear_goal()

    def _publish_command(self, goal: GoalRun, ready: _Ready) -> None:
        """Publish it, and end the goal where it is reached or stalled."""
        stamp = self._node.now_message()
        self._latency_s = convert.seconds_between(ready.observation.stamp, stamp)
        self._sequence = ready.command.sequence
        output = ready.output
        self._answers.send(self._sequence)
        self._command.publish(
            convert.command_to_message(ready.command, output.action, output.steps_to_goal, stamp, ready.observation)
        )
        self._show_candidates(ready, stamp)
        progress = goal.count_step(output.steps_to_goal)
        now = self._configuration
        if progress is not None:
            self._answers.wait_for(ready.command.sequence, _ANSWER_S)
            goal.refused, goal.refusal = self._answers.refused
        if progress == REACHED:
            near = f"within {now.reached_steps:.3g} steps of the goal for {now.reached_in_a_row} commands"
            goal.end(_OUTCOMES.REACHED, near)
        elif progress == NOT_CLOSER:
            since = f"{NOT_CLOSER}: not for {now.stall_commands} commands"
            goal.end(_OUTCOMES.STALLED, goal.with_nearest(since))

    def _show_candidates(self, ready: _Ready, stamp: Time) -> None:
        """What the policy chose among, where it chooses; after the command, which must not wait for it."""
        candidates, inputs = ready.output.candidates, ready.inputs
        if self._candidates is not None and candidates is not None:
            self._candidates.publish(self._markers.markers(candidates, inputs.target_pose, inputs.measured_pose, stamp))

    def _publish_status(self, state: str, reason: str, goal: GoalRun | None) -> None:
        steps_to_goal = convert.number(goal.steps_to_goal if goal else None)
        self._status.publish(
            PolicyStatus(
                header=Header(stamp=self._node.now_message()),
                state=state,
                reason=reason,
                goal=self._goal_name,
                session=self.session,
                sequence=self._sequence,
                steps_to_goal=steps_to_goal,
                latency_ms=convert.number(None if self._latency_s is None else 1e3 * self._latency_s),
                deadline_misses=self._deadline_misses,
            )
        )
        if goal is not None and goal.handle is not None and goal.result is None:
            goal.handle.publish_feedback(
                ReachGoal.Feedback(steps_to_goal=steps_to_goal, steps=goal.steps_taken, state=state, reason=reason)
            )
