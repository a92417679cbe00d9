"""Asking policy_node for a goal, and following it to its end: for operators, demos and tests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from mqe_core import ros_names
from mqe_interfaces.action import ReachGoal
from mqe_ros.asking import ANSWERED, answer

Show = Callable[[ReachGoal.Feedback], None]


class GoalClient:
    """Sends goals to /reach_goal.

    Args:
        listen: spins the executor for a moment.
        listen_or_stop: does so while a goal is followed; what it raises ends that. None: `listen`.
        silence_s: a goal in force of which nothing is heard for so long is an error; policy_node tells of it in each
            control period.
    """

    def __init__(
        self,
        node: Node,
        listen: Callable[[], None],
        listen_or_stop: Callable[[], None] | None = None,
        silence_s: float = math.inf,
    ) -> None:
        self._client = ActionClient(
            node,
            ReachGoal,
            ros_names.REACH_GOAL,
            goal_service_qos_profile=ANSWERED,
            result_service_qos_profile=ANSWERED,
            cancel_service_qos_profile=ANSWERED,
        )
        self._listen, self._listen_or_stop, self._silence_s = listen, listen_or_stop or listen, silence_s

    def is_there(self) -> bool:
        """Whether policy_node has been found."""
        return self._client.server_is_ready()

    def send(self, request: ReachGoal.Goal, timeout_s: float, show: Show = lambda feedback: None) -> SentGoal:
        """Ask until policy_node, which is there, answers; TimeoutError where it does not within `timeout_s` seconds.

        `show` gets the feedback on this goal.
        """
        heard = Heard(show)
        handle = answer(
            lambda: self._client.send_goal_async(request, feedback_callback=heard.anew()),
            self._listen,
            timeout_s,
            "policy_node's answer to the goal",
            only_newest=True,
        )
        return SentGoal(handle, heard, self._listen, self._listen_or_stop, self._silence_s)


class Heard:
    """The feedback on the newest asking only: an earlier one's goal may be in force for a moment."""

    def __init__(self, show: Show) -> None:
        self.at = time.monotonic()
        self._show, self._asking = show, 0

    def anew(self) -> Callable[[ReachGoal.Impl.FeedbackMessage], None]:
        self._asking += 1
        asking = self._asking

        def hear(message: ReachGoal.Impl.FeedbackMessage) -> None:
            if asking == self._asking:
                self.at = time.monotonic()
                self._show(message.feedback)

        return hear


class SentGoal:
    """A goal that policy_node has taken: it has a result, also where it was refused."""

    def __init__(
        self,
        handle: ClientGoalHandle,
        heard: Heard,
        listen: Callable[[], None],
        listen_or_stop: Callable[[], None],
        silence_s: float,
    ) -> None:
        self._handle, self._heard = handle, heard
        self._listen, self._listen_or_stop, self._silence_s = listen, listen_or_stop, silence_s
        self._asked = [handle.get_result_async()]  # at once: a node that ends answers nobody who asks later

    def result(self, timeout_s: float) -> ReachGoal.Result:
        """How it ended. TimeoutError where it has not within `timeout_s` seconds, RuntimeError where policy_node fell
        silent or does not know the goal.
        """
        self._heard.at = time.monotonic()
        given = answer(self._ask_result, self._listen_to_it, timeout_s, "the end of the goal")
        if given.status == GoalStatus.STATUS_UNKNOWN:
            raise RuntimeError("policy_node does not know the goal any more; was it started again?")
        return given.result

    def cancel(self, timeout_s: float) -> None:
        """Ask for its end, which `result` then tells; TimeoutError without an answer."""
        what = "policy_node's answer to the cancellation"
        answer(self._handle.cancel_goal_async, self._listen, timeout_s, what)

    def _ask_result(self) -> Future:
        return self._asked.pop() if self._asked else self._handle.get_result_async()

    def _listen_to_it(self) -> None:
        self._listen_or_stop()
        if time.monotonic() - self._heard.at > self._silence_s:
            raise RuntimeError(
                f"nothing heard from policy_node for {self._silence_s:.0f} s; whether the arm moves is not known: mqe "
                "arm hold stops it"
            )
