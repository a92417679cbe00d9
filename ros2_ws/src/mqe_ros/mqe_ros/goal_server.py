"""The goal in force: asked for by /reach_goal or at the start, pursued and ended by the control thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future

from mqe_core import ros_names
from mqe_core.files.bounded import shortened, shown
from mqe_core.policy.domain import check_domain
from mqe_core.policy.goals import check_camera, find_goal, read_goal, require_picture
from mqe_core.robot.arrays import Images
from mqe_core.runtime.aside import Aside
from mqe_interfaces.action import ReachGoal
from mqe_ros import convert
from mqe_ros.asking import ANSWERED
from mqe_ros.goal_run import GoalRun
from mqe_ros.managed_node import ManagedNode
from mqe_ros.running import REASON_BYTES

STOPPED = "stopped"  # how a node is closed that ends
_OUTCOMES = ReachGoal.Result
_READING_S = 5.0  # for a goal's files and what its picture alone needs of the policy; some milliseconds, or a tenth


class GoalServer:
    """At most one goal is in force; a new one replaces it. While closed (as at first) it refuses every request, with
    the reason.

    It lasts as long as the node: were it made and destroyed with each configuration, a client would not always hear how
    its goal ended.
    """

    def __init__(self, node: ManagedNode) -> None:
        self.last_end = ""  # how the last goal ended, for people
        self.last_outcome = ""  # the same, one of the action's
        self._node = node
        self._folders: Sequence[Path] = ()
        self._domain = self._camera = ""
        self._prepare: Callable[[Images], None] | None = None
        self._lock = threading.Lock()
        self._goal: GoalRun | None = None
        self._open = False
        self._closed = ""  # how, at the newest time
        self._executing = 0  # requests whose result has not been sent
        self._aside = Aside(_READING_S)
        self._action = ActionServer(
            node,
            ReachGoal,
            ros_names.REACH_GOAL,
            self._execute,
            goal_callback=self._accept,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            goal_service_qos_profile=ANSWERED,
            result_service_qos_profile=ANSWERED,
            cancel_service_qos_profile=ANSWERED,
        )

    @property
    def current(self) -> GoalRun | None:
        with self._lock:
            return self._goal

    @property
    def settled(self) -> bool:
        """Whether every client has its result."""
        return self._executing == 0

    def configure(self, folders: Sequence[Path], domain: str, camera: str, prepare: Callable[[Images], None]) -> None:
        """What requests are checked against, and who gets ready for them.

        Args:
            folders: where a goal's name is looked up.
            domain: of the camera in use, and so of goal images that come as messages.
            camera: its name; a goal file of another one is refused.
            prepare: is given a goal's picture before it is in force, beside the control thread.
        """
        self._folders, self._domain, self._camera, self._prepare = folders, domain, camera, prepare

    def unconfigure(self) -> None:
        """Let go of the policy."""
        self._prepare = None

    def open(self) -> None:
        """Take requests."""
        self._open = True

    def close(self, how: str = "deactivated") -> None:
        """End the goal in force because the node was `how`, and take no further requests."""
        if self._open:  # a node that was stopped is deactivated as well
            self._open, self._closed = False, how
        goal = self.current
        if goal is not None:
            goal.end(_OUTCOMES.FAILED, self._was_closed())

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
            self.last_outcome = result.outcome
            self.last_end = f"{result.outcome}: {result.reason}" if result.reason else result.outcome
            self._node.get_logger().info(f"goal ended: {self.last_end} ({result.steps} steps)")
            if future is not None:
                future.set_result(result)

        return end

    def destroy(self) -> None:
        self._action.destroy()

    def _accept(self, request: ReachGoal.Goal) -> GoalResponse:
        """Every request is taken, so that it has a result; from here on the node waits for that before it goes."""
        self._executing += 1
        return GoalResponse.ACCEPT

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoal.Result:
        """Waits until the goal is ready, and for the control thread, without occupying the executor."""
        future, reading = (Future(executor=self._node.executor) for _ in range(2))
        try:
            self._aside.do(lambda: self._requested(handle, future), reading)
            goal = await reading
            self._require_open()  # it may have been closed meanwhile
            self.begin(goal)
            result = await future
        except Exception as error:  # whatever the request holds, it ends with a reason
            result = ReachGoal.Result(
                outcome=_OUTCOMES.FAILED, reason=self._why(handle.request, error), steps_to_goal=math.nan
            )
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
        self._require_open()
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
        prepare = self._prepare
        if prepare is not None:
            prepare(image)
        return GoalRun(name, image, domain, request.timeout_s, self.on_end(future), handle, request.anyway)

    def _require_open(self) -> None:
        """ValueError, with what helps in the state that the node is in, where it takes no requests."""
        if self._open:
            return
        if self._closed == STOPPED:  # nothing can be done with it any more
            raise ValueError(self._was_closed())
        name, state = self._node.get_fully_qualified_name(), self._node.lifecycle_state
        if state == "finalized":
            raise ValueError(f"{name} is not active: it was shut down, which is its end; start it again, or the graph")
        if state == "unconfigured":
            raise ValueError(f"{name} is not active; first: ros2 lifecycle set {name} configure, then … activate")
        raise ValueError(f"{name} is not active; activate it first: ros2 lifecycle set {name} activate")

    def _was_closed(self) -> str:
        return f"{self._node.get_name()} was {self._closed}"

    @staticmethod
    def _why(request: ReachGoal.Goal, error: Exception) -> str:
        """A reason of less than a kilobyte, which names the file that was asked for."""
        said = str(error)
        if not isinstance(error, (ValueError, OSError)):  # none of ours, which name the file
            said = f"{type(error).__name__}: {error}"
        if request.goal_image.height == 0 and (isinstance(error, TimeoutError) or said != str(error)):
            said = f"{shown(request.goal_file)}: {said}"
        return shortened(said, REASON_BYTES)
