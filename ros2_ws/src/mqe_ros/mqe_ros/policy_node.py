"""The policy as a node: camera images and the arm's poses in, absolute targets out at the control rate.

Parameters: `policy` (required, a bundle), `camera_domain` (required: sim or real), `robot`, `goal` (a goal
    file to pursue at once, unless `autostart` is false), `goal_folders` (joined by ':'), `compressed` (read
    the compressed image topic), `slot_s`, `reached_steps`, `reached_in_a_row`, `max_pose_age_s`, `threads`.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time as TimeMessage
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mqe_core.bundle import PolicyBundle
from mqe_core.goals import find_goal, read_goal
from mqe_core.runtime.policy import OnnxPolicy
from mqe_core.runtime.policy_side import Decision, PolicySide
from mqe_core.runtime.robot import Frame, MonotonicClock, check_domain
from mqe_core.spec import load_robot_spec
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import PolicyStatus
from mqe_ros import convert, topics
from mqe_ros.goal_run import GoalRun
from mqe_ros.running import ControlNode, parameter, run_node

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble's name of it
    from rclpy.qos_event import SubscriptionEventCallbacks

_OUTCOMES = ReachGoal.Result


@dataclass(frozen=True)
class Stamped:
    """A message and the monotonic time of its receipt."""

    message: Image | CompressedImage | PoseStamped
    received: float


class PolicyNode(ControlNode):
    """Callbacks store the newest messages; the control thread computes, then publishes at a fixed slot."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._spec = load_robot_spec(parameter(self, "robot", str, "widowx250s"))
        bundle = PolicyBundle.open(
            parameter(self, "policy", str), self._spec, threads=parameter(self, "threads", int, 1)
        )
        self._domain = parameter(self, "camera_domain", str)
        check_domain(bundle.contract.domain, self._domain, "the camera")
        self._folders = [
            Path(folder) for folder in parameter(self, "goal_folders", str, "").split(os.pathsep) if folder
        ]
        # A fixed slot hides the variance of the inference time; it has to be longer than nearly every
        # inference.
        self._slot_s = parameter(self, "slot_s", float, 0.05)
        self._reached_steps = parameter(
            self, "reached_steps", float, 0.0
        )  # 0: a goal ends by timeout or cancellation only
        self._reached_in_a_row = parameter(self, "reached_in_a_row", int, 3)
        self._max_pose_age_s = parameter(self, "max_pose_age_s", float, 0.5)
        if not 0.0 <= self._slot_s < self._spec.control.period_s:
            raise ValueError(
                f"the parameter slot_s must lie within the control period of "
                f"{self._spec.control.period_s} s; got {self._slot_s}"
            )
        policy = OnnxPolicy(bundle)
        self._policy = PolicySide(policy, self._spec, MonotonicClock(), gripper=policy.gripper_rule())

        self._lock = threading.Lock()  # for what callbacks and the control thread share
        self._newest: dict[str, Stamped] = {}
        self._goal: GoalRun | None = None
        self._last_goal, self._last_end = "", ""
        self.deadline_misses = 0
        self._sequence, self._latency_s = 0, None
        self._images = 0

        self._command = self.publish_on(topics.COMMAND)
        self._status = self.publish_on(topics.POLICY_STATUS)
        self._goal_image = self.publish_on(topics.GOAL_IMAGE)
        self._image_topic = (
            topics.COMPRESSED_IMAGE if parameter(self, "compressed", bool, False) else topics.IMAGE
        )
        self._best_effort_only = False
        self._image_subscription = self._subscribe_to_images(self._image_topic.qos)
        self.subscribe_to(topics.EE_POSE, lambda message: self._store("pose", message))
        self.subscribe_to(topics.EE_TARGET, lambda message: self._store("target", message))
        self._action = ActionServer(
            self,
            ReachGoal,
            topics.REACH_GOAL_ACTION,
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        self.get_logger().info(
            f"policy {bundle.path} ({bundle.contract.agent}, {bundle.contract.domain} images), "
            f"session {self._policy.session}"
        )
        self._start_with(parameter(self, "goal", str, ""), parameter(self, "autostart", bool, True))

    def control(self) -> None:
        period = self._spec.control.period_s
        start, k = time.monotonic(), 0
        while self.sleep_until(start + k * period):
            self._step(start + k * period + self._slot_s)
            due = max(k + 1, math.ceil((time.monotonic() - start) / period))
            self.deadline_misses += due - (k + 1)  # periods without a tick; a late slot counts itself
            k = due

    def stop(self) -> None:
        super().stop()
        self._action.destroy()

    def diagnose(self) -> tuple[bytes, str, dict[str, object]]:
        if self._best_effort_only:
            self._best_effort_only = False
            self.get_logger().warning(
                f"the publisher of {self._image_topic.name} offers best effort only: reading it that way; "
                f"large raw images may be lost"
            )
            self.destroy_subscription(self._image_subscription)
            self._image_subscription = self._subscribe_to_images(topics.NEWEST_BEST_EFFORT)
        with self._lock:
            goal = self._goal
        values = {
            "images": self._images,
            "sequence": self._sequence,
            "deadline_misses": self.deadline_misses,
            "latency_ms": "" if self._latency_s is None else f"{1e3 * self._latency_s:.1f}",
        }
        return DiagnosticStatus.OK, f"goal {goal.name}" if goal else "no goal", values

    def _subscribe_to_images(self, qos):
        def incompatible(_: object) -> None:
            self._best_effort_only = (
                True  # subscribed anew from the timer: not from within the old subscription's own event
            )

        return self.create_subscription(
            self._image_topic.type,
            self._image_topic.name,
            self._on_image,
            qos,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._images += 1
        self._store("image", message)

    def _store(self, key: str, message: Image | CompressedImage | PoseStamped) -> None:
        with self._lock:
            self._newest[key] = Stamped(message, time.monotonic())

    # Goals: begun by callbacks, pursued and ended by the control thread.

    def _start_with(self, name: str, autostart: bool) -> None:
        if not name:
            return
        goal = read_goal(find_goal(name, self._folders))
        check_domain(self._domain, goal.domain, f"the goal {goal.path}")
        self._publish_goal_image(goal.image)
        if autostart:
            self._begin(GoalRun(goal.name, goal.image, goal.domain, None, self._on_end(None)))

    def _begin(self, goal: GoalRun) -> None:
        with self._lock:
            previous, self._goal = self._goal, goal
        if previous is not None:
            previous.end(_OUTCOMES.PREEMPTED, f"replaced by the goal {goal.name}")
        self.get_logger().info(f"goal {goal.name}: begun")

    def _on_end(self, future: Future | None):
        def on_end(result: ReachGoal.Result) -> None:
            self._last_end = f"{result.outcome}: {result.reason}" if result.reason else result.outcome
            self.get_logger().info(f"goal ended: {self._last_end} ({result.steps} steps)")
            if future is not None:
                future.set_result(result)

        return on_end

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoal.Result:
        """Waits for the control thread without occupying the executor."""
        future = Future(executor=self.executor)
        try:
            goal = self._requested(handle.request, future)
        except (ValueError, OSError) as error:
            handle.abort()
            return ReachGoal.Result(outcome=_OUTCOMES.FAILED, reason=str(error), steps_to_goal=float("nan"))
        goal.handle = handle
        self._begin(goal)
        result = await future
        if result.outcome == _OUTCOMES.REACHED:
            handle.succeed()
        elif result.outcome == _OUTCOMES.CANCELED:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _requested(self, request: ReachGoal.Goal, future: Future) -> GoalRun:
        if not (math.isfinite(request.timeout_s) and request.timeout_s > 0):
            raise ValueError(f"timeout_s must be greater than 0, got {request.timeout_s}")
        if request.goal_image.height > 0:
            image = convert.image_to_array(request.goal_image)
            name, domain = "(image)", self._domain  # a message does not say what it shows: the camera's
        elif request.goal_file:
            goal = read_goal(find_goal(request.goal_file, self._folders))
            name, image, domain = goal.name, goal.image, goal.domain
        else:
            raise ValueError("give a goal_image or a goal_file")
        return GoalRun(name, image, domain, request.timeout_s, self._on_end(future))

    def _publish_goal_image(self, image: np.ndarray) -> None:
        self._goal_image.publish(convert.array_to_image(image, self.now_message(), self._spec.camera.name))

    # One control period.

    def _step(self, slot: float) -> None:
        with self._lock:
            goal, newest = self._goal, dict(self._newest)
        if goal is not None:
            self._apply(goal)
        if goal is None or goal.result is not None:
            self._finish(goal)
            self.sleep_until(slot)
            self._publish_status(PolicyStatus.IDLE, self._last_end, None)
            return
        decision, reason = self._decide(newest)
        if time.monotonic() > slot:
            self.deadline_misses += 1
        self.sleep_until(slot)
        if (
            decision is not None
            and decision.command is not None
            and goal.result is None
            and not self.stopping.is_set()
        ):
            self._publish_command(goal, decision, newest["image"].message.header.stamp)
        self._publish_status(PolicyStatus.WAITING if reason else PolicyStatus.RUNNING, reason, goal)
        self._finish(goal)

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
            self._last_goal = goal.name
            self._publish_goal_image(goal.image)

    def _decide(self, newest: dict[str, Stamped]) -> tuple[Decision | None, str]:
        """(decision, why there is no command)."""
        for key, what in (
            ("image", self._image_topic.name),
            ("pose", topics.EE_POSE.name),
            ("target", topics.EE_TARGET.name),
        ):
            if key not in newest:
                return None, f"nothing received on {what} yet"
        for key, what in (("pose", topics.EE_POSE.name), ("target", topics.EE_TARGET.name)):
            age = time.monotonic() - newest[key].received
            if age > self._max_pose_age_s:
                return None, f"{what} is {age:.1f} s old"
        try:
            image = newest["image"]
            array = (
                convert.image_to_array if isinstance(image.message, Image) else convert.compressed_to_array
            )(image.message)
            frame = Frame(stamp=image.received, image=array, domain=self._domain)
            pose, target = (convert.pose_to_matrix(newest[key].message.pose) for key in ("pose", "target"))
            decision = self._policy.compute(frame, pose, target)
        except ValueError as error:
            return None, str(error)
        return decision, decision.held or ""

    def _publish_command(self, goal: GoalRun, decision: Decision, observation_stamp: TimeMessage) -> None:
        now = self.get_clock().now()
        self._latency_s = (
            1e-9 * (now - Time.from_msg(observation_stamp, clock_type=now.clock_type)).nanoseconds
        )
        self._sequence = decision.command.sequence
        self._command.publish(
            convert.command_to_message(
                decision.command,
                decision.output.action,
                decision.output.steps_to_goal,
                now.to_msg(),
                observation_stamp,
            )
        )
        if goal.count_step(decision.output.steps_to_goal, self._reached_steps, self._reached_in_a_row):
            goal.end(
                _OUTCOMES.REACHED,
                f"within {self._reached_steps} steps of the goal for {self._reached_in_a_row} commands",
            )

    def _finish(self, goal: GoalRun | None) -> None:
        """Forget a goal that has ended, unless another one is in force already."""
        if goal is None or goal.result is None:
            return
        with self._lock:
            if self._goal is goal:
                self._goal = None
                self._policy.clear_goal()

    def _publish_status(self, state: str, reason: str, goal: GoalRun | None) -> None:
        steps_to_goal = convert.number(goal.steps_to_goal if goal else None)
        self._status.publish(
            PolicyStatus(
                header=Header(stamp=self.now_message()),
                state=state,
                reason=reason,
                goal=goal.name if goal else self._last_goal,
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


def main() -> None:
    sys.exit(run_node(PolicyNode))


if __name__ == "__main__":
    main()
