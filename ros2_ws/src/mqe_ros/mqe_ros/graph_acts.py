"""What the console's page may ask of a graph: the same services and action as the commands of `mqe` use."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

from action_msgs.srv import CancelGoal
from rclpy.task import Future
from std_srvs.srv import Trigger

from mqe_core import ros_names
from mqe_core.console.link import CANCEL, CAPTURE, HOLD, HOME, RESUME, SEND
from mqe_core.files.bounded import shortened
from mqe_core.robot.episode_marks import LABEL, MARKS, require_label
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.srv import MarkEpisode
from mqe_ros.asking import ANSWERED, answer
from mqe_ros.goal_client import GoalClient, SentGoal
from mqe_ros.running import ControlNode

_PATIENCE_S = 5.0
_LOOK_S = 0.002  # between two looks for an answer, which the executor's thread brings
_GOAL_S = 120.0  # as `mqe goal send`
_SERVICES = {HOLD: ros_names.HOLD, RESUME: ros_names.RESUME, HOME: ros_names.HOME}


class GraphActs:
    """`do` blocks and may be called from any thread but the executor's.

    Args:
        capture: takes a goal of the name, and says what was done.
        tell: hears how a goal ended that was sent here.
    """

    def __init__(self, node: ControlNode, capture: Callable[[str], str], tell: Callable[[str], None]) -> None:
        self._node, self._capture, self._tell = node, capture, tell
        self._services = {
            act: node.create_client(Trigger, name, qos_profile=ANSWERED) for act, name in _SERVICES.items()
        }
        self._mark = node.create_client(MarkEpisode, ros_names.MARK_EPISODE, qos_profile=ANSWERED)
        self._goals = GoalClient(node, _listen, lambda: time.sleep(0.05))
        self._cancel = node.create_client(
            CancelGoal, f"{ros_names.REACH_GOAL}/_action/cancel_goal", qos_profile=ANSWERED
        )
        self._sending = threading.Lock()

    def do(self, act: str, text: str = "") -> str:
        """As `Link.do`."""
        if act in _SERVICES:
            return self._trigger(act)
        if act in MARKS:
            return self._episode(act, text)
        if act == SEND:
            return self._send(text)
        if act == CANCEL:
            return self._cancel_all()
        if act == CAPTURE:
            return self._capture(text)
        raise ValueError(f"nothing is called {shortened(act, 40)!r} here")

    def _trigger(self, act: str) -> str:
        client = self._services[act]
        if not client.service_is_ready():
            raise RuntimeError(f"{act}: no arm_node answers; in doubt cut the arm's power")
        ask = self._asking(lambda: client.call_async(Trigger.Request()))
        return _success(
            answer(ask, _listen, _PATIENCE_S, f"{act}: arm_node's answer; in doubt cut the arm's power; it")
        )

    def _episode(self, mark: str, label: str) -> str:
        if mark == LABEL:
            require_label(label)
        if not self._mark.service_is_ready():
            raise RuntimeError("nothing records: start the graph with record:=true")
        request = MarkEpisode.Request(id=secrets.randbits(64), mark=mark, label=label)
        ask = self._asking(lambda: self._mark.call_async(request))
        return _success(answer(ask, _listen, _PATIENCE_S, "record_node's answer"))

    def _send(self, goal: str) -> str:
        if not self._goals.is_there():
            raise RuntimeError("no policy_node answers; is it active?")
        request = ReachGoal.Goal(goal_file=goal, timeout_s=_GOAL_S)
        with self._sending:  # of two askings the later one counts
            sent = self._goals.send(request, _PATIENCE_S)
        threading.Thread(target=self._follow, args=(goal, sent), name="goal", daemon=True).start()
        return f"sent {goal}"

    def _follow(self, goal: str, sent: SentGoal) -> None:
        try:
            result = sent.result(_GOAL_S + 10.0)
        except (RuntimeError, TimeoutError) as error:
            self._tell(f"goal {goal}: {error}")
            return
        self._tell(f"goal {goal}: {result.outcome}" + (f": {result.reason}" if result.reason else ""))

    def _cancel_all(self) -> str:
        if not self._cancel.service_is_ready():
            raise RuntimeError("no policy_node answers; is it active?")
        # A request that names no goal and no time means all of them.
        ask = self._asking(lambda: self._cancel.call_async(CancelGoal.Request()))
        given = answer(ask, _listen, _PATIENCE_S, "the answer to the cancellation")
        if not given.goals_canceling:
            raise RuntimeError(
                "no goal was sent that could be canceled; one that was given at the start ends by another goal, or "
                "hold the arm"
            )
        return "canceled"

    def _asking(self, ask: Callable[[], Future]) -> Callable[[], Future]:
        """`ask`, done by the executor's thread: beside it an answer may come before the client knows its number."""

        def ask_there() -> Future:
            executor = self._node.executor
            assert executor is not None  # the node runs
            asked = executor.create_task(ask)
            while not asked.done():
                _listen()
            return asked.result()

        return ask_there


def _listen() -> None:
    time.sleep(_LOOK_S)


def _success(given) -> str:
    """RuntimeError with the words where it was refused."""
    if not given.success:
        raise RuntimeError(given.message)
    return str(given.message)
