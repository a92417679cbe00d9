"""The goal in force: asked for by /reach_goal or at the start, pursued and ended by the control thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future

from mqe_core.goals import check_camera, find_goal, read_goal, require_picture
from mqe_core.runtime.robot import check_domain
from mqe_interfaces.action import ReachGoal
from mqe_ros import convert, services
from mqe_ros.goal_run import GoalRun

_OUTCOMES = ReachGoal.Result


class GoalServer:
    """At most one goal is in force; a new one replaces it. While closed (as at first) it refuses every request, with the reason.

    It lasts as long as the node: were it made and destroyed with each configuration, a client would not always hear how its goal ended.
    """

    def __init__(self, node: Node) -> None:
        self.last_end = ""  # how the last goal ended, for people
        self._node = node
        self._folders: Sequence[Path] = ()
        self._domain = self._camera = ""
        self._lock = threading.Lock()
        self._goal: GoalRun | None = None
        self._open = False
        self._executing = 0  # requests whose result has not been sent
        self._action = ActionServer(
            node,
            ReachGoal,
            services.REACH_GOAL,
            self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    @property
    def current(self) -> GoalRun | None:
        with self._lock:
            return self._goal

    @property
    def settled(self) -> bool:
        """Whether every client has its result."""
        return self._executing == 0

    def configure(self, folders: Sequence[Path], domain: str, camera: str) -> None:
        """What requests are checked against.

        Args:
            folders: where a goal's name is looked up.
            domain: of the camera in use, and so of goal images that come as messages.
            camera: its name; a goal file of another one is refused.
        """
        self._folders, self._domain, self._camera = folders, domain, camera

    def open(self) -> None:
        """Take requests."""
        self._open = True

    def close(self, how: str = "deactivated") -> None:
        """End the goal in force because the node was `how`, and take no further requests."""
        self._open = False
        goal = self.current
        if goal is not None:
            goal.end(_OUTCOMES.FAILED, f"{self._node.get_name()} was {how}")

    def begin(self, goal: GoalRun) -> None:
        """Put a goal in force."""
        with self._lock:
            previous, self._goal = self._goal, goal
        if previous is not None:
            previous.end(_OUTCOMES.PREEMPTED, f"replaced by the goal {goal.name}")
        self._node.get_logger().info(f"goal {goal.name}: begun")

    def forget(self, goal: GoalRun) -> bool:
        """Take an ended goal out of force; False where another one has replaced it already."""
        with self._lock:
            if self._goal is not goal:
                return False
            self._goal = None
        if self._open:  # a graph that says nothing more would look as if it hung
            self._node.get_logger().info("waiting for the next goal (mqe goal send NAME; Ctrl-C ends)")
        return True

    def on_end(self, future: Future | None) -> Callable[[ReachGoal.Result], None]:
        """What a GoalRun calls with its result."""

        def end(result: ReachGoal.Result) -> None:
            self.last_end = f"{result.outcome}: {result.reason}" if result.reason else result.outcome
            self._node.get_logger().info(f"goal ended: {self.last_end} ({result.steps} steps)")
            if future is not None:
                future.set_result(result)

        return end

    def destroy(self) -> None:
        self._action.destroy()

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoal.Result:
        """Waits for the control thread without occupying the executor."""
        future = Future(executor=self._node.executor)
        try:
            goal = self._requested(handle, future)
        except (ValueError, OSError) as error:
            handle.abort()
            return ReachGoal.Result(outcome=_OUTCOMES.FAILED, reason=str(error), steps_to_goal=math.nan)
        self._executing += 1
        try:
            self.begin(goal)
            result = await future
        finally:
            self._executing -= 1
        if result.outcome == _OUTCOMES.REACHED:
            handle.succeed()
        elif result.outcome == _OUTCOMES.CANCELED:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _requested(self, handle: ServerGoalHandle, future: Future) -> GoalRun:
        """What a client asks for; an invalid request raises and leaves the goal in force alone."""
        request = handle.request
        if not self._open:
            name = self._node.get_fully_qualified_name()
            raise ValueError(f"{name} is not active; activate it first: ros2 lifecycle set {name} activate")
        if not (math.isfinite(request.timeout_s) and request.timeout_s > 0):
            raise ValueError(f"timeout_s must be greater than 0, got {request.timeout_s}")
        if request.goal_image.height > 0:
            image = convert.image_to_array(request.goal_image)
            require_picture(image, "goal_image")
            name, domain = "(image)", self._domain  # a message does not say what it shows: the camera's
        elif request.goal_file:
            goal = read_goal(find_goal(request.goal_file, self._folders))
            check_camera(goal, self._camera)
            check_domain(self._domain, goal.domain, f"the goal {goal.path}")
            name, image, domain = goal.name, goal.image, goal.domain
        else:
            raise ValueError("give a goal_image or a goal_file")
        return GoalRun(name, image, domain, request.timeout_s, self.on_end(future), handle)
