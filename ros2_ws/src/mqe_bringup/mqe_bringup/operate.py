"""What an operator asks of a running graph: `mqe arm …` and `mqe goal send`, as `python -m mqe_bringup.operate QUESTION …`.

What a hold does not need is imported where it is needed.
"""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TextIO

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from mqe_core.ros_domain import ros_domain
from mqe_ros import services
from mqe_ros.asking import answer

if TYPE_CHECKING:
    from rclpy.client import Client
    from rclpy.task import Future

    from mqe_interfaces.action import ReachGoal
    from mqe_interfaces.msg import ArmStatus, PolicyStatus
    from mqe_ros.topics import Topic

_PATIENCE_S = 5.0  # for a node to be found, and again for its answer
_ROUND_S = 0.02  # discovery wakes nobody: it is looked for so often
_HOMING_S = 40.0  # the arm's side gives up after 30 s itself
_SILENCE_S = 10.0  # policy_node sends feedback five times a second
_LINE_S = 3.0  # between two lines of progress where stdout is no terminal
_INTERRUPTED = 130  # the exit code that shells give


class Operator:
    """A node that asks the graph's nodes; a context. Ctrl-C and SIGTERM count between two rounds of listening. ValueError where
    ROS_DOMAIN_ID is none.
    """

    def __init__(self) -> None:
        ros_domain()  # ValueError before rclpy finds its own words
        self._stop_wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._want_stop)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("operator", enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def listen(self) -> None:
        self._executor.spin_once(timeout_sec=_ROUND_S)

    def listen_or_stop(self) -> None:
        """KeyboardInterrupt after a signal, once for each."""
        self.listen()
        if self._stop_wanted:
            self._stop_wanted = False
            raise KeyboardInterrupt

    def listen_for(self, done: Callable[[], object]) -> None:
        """Until `done()`, or for five control periods: what is published by then is there."""
        end = time.monotonic() + 1.0
        while not done() and time.monotonic() < end:
            self.listen_or_stop()

    def wait(self, done: Callable[[], object], otherwise: str, timeout_s: float = _PATIENCE_S) -> None:
        """Listen until `done()`; RuntimeError with `otherwise` where that takes longer than `timeout_s` seconds."""
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                raise RuntimeError(otherwise)
            self.listen_or_stop()

    def find(
        self, there: Callable[[], object], name: str, otherwise: str = "start a graph (mqe up goal:=NAME)"
    ) -> None:
        """Wait for the node `name`; RuntimeError with the remedy where none is in this ROS domain."""
        self.wait(
            there, f"no {name} answers in ROS domain {ros_domain()}: {otherwise}, or set ROS_DOMAIN_ID to its domain"
        )

    def hear(self, topic: Topic) -> list:
        """A list that what is published on `topic` is appended to, from now on."""
        heard: list = []
        self.node.create_subscription(topic.type, topic.name, heard.append, topic.qos)
        return heard

    def connect(self, service: str) -> Client:
        """The client of one of arm_node's services, which is there."""
        client = self.node.create_client(Trigger, service)
        remedy = {"otherwise": "cut the arm's power"} if service == services.HOLD else {}
        self.find(client.service_is_ready, "arm_node", **remedy)
        return client

    def trigger(self, client: Client) -> str:
        """arm_node's words. RuntimeError with them where it refuses, TimeoutError where it does not answer; signals do not end it."""
        given = self.ask(lambda: client.call_async(Trigger.Request()), f"arm_node's answer to {client.srv_name}")
        if not given.success:
            raise RuntimeError(given.message)
        return given.message

    def ask(self, question: Callable[[], Future], what: str, **options: bool):
        """The answer to a question that may be put twice; TimeoutError with `what` where none comes."""
        return answer(question, self.listen, _PATIENCE_S, what, **options)

    def _want_stop(self, *_: object) -> None:
        self._stop_wanted = True


def hold(operator: Operator) -> int:
    return _hold(operator, lambda: operator.connect(services.HOLD))


def _hold(operator: Operator, connect: Callable[[], Client]) -> int:
    try:
        _say(operator.trigger(connect()))
    except (RuntimeError, OSError) as error:
        raise RuntimeError(f"the arm may not be holding: {error}") from error
    return 0


def resume(operator: Operator) -> int:
    from mqe_ros import topics

    policy: list[PolicyStatus] = operator.hear(topics.POLICY_STATUS)
    _say(operator.trigger(operator.connect(services.RESUME)))
    operator.listen_for(lambda: policy)
    if policy and policy[-1].state != policy[-1].IDLE:
        _say(f"the goal {policy[-1].goal} is in force: the arm moves on")
    return 0


def home(operator: Operator) -> int:
    """Until the arm is there. RuntimeError where it stops on the way; Ctrl-C holds it."""
    from mqe_ros import topics

    states: list[ArmStatus] = operator.hear(topics.ARM_STATUS)
    operator.find(lambda: states, "arm_node")  # from here on none is missed
    states.clear()
    brake = operator.connect(
        services.HOLD
    )  # before anything moves: a second Ctrl-C must not come between the first and the hold
    operator.trigger(operator.connect(services.HOME))
    _say("homing; Ctrl-C holds the arm")
    try:
        operator.wait(lambda: _after_homing(states), "homing has not ended; see mqe arm status", _HOMING_S)
    except KeyboardInterrupt:
        _hold(operator, lambda: brake)
        return _INTERRUPTED
    ended = _after_homing(states)
    if ended.state == ended.HELD and ended.reason.startswith("homing is done"):
        _say("home, and held, as commands keep coming in: mqe arm resume lets them move the arm again")
        return 0
    if ended.state != ended.READY:
        raise RuntimeError(f"the arm is not home: {_state(ended)}")
    _say("home")
    return 0


def _after_homing(states: list[ArmStatus]) -> ArmStatus | None:
    """The first one after those of the homing; None while there is none."""
    for before, state in pairwise(states):
        if before.reason == "homing" != state.reason:
            return state
    return None


def status(operator: Operator) -> int:
    """What arm_node and policy_node say now."""
    from mqe_ros import topics

    arm, poses, policy = (operator.hear(topic) for topic in (topics.ARM_STATUS, topics.EE_POSE, topics.POLICY_STATUS))
    operator.find(lambda: arm, "arm_node")
    operator.listen_for(lambda: poses and policy)
    hand = poses[-1].pose.position if poses else None
    _say(f"arm     {_state(arm[-1])}{', DRY RUN: nothing moves' if arm[-1].dry_run else ''}")
    _say(f"hand    {'its pose is not known' if hand is None else f'at ({hand.x:.3f}, {hand.y:.3f}, {hand.z:.3f}) m'}")
    _say(f"policy  {_pursuit(policy[-1]) if policy else 'says nothing: policy_node is not active, or not there'}")
    return 0


def _state(said: ArmStatus | PolicyStatus) -> str:
    return f"{said.state}: {said.reason}" if said.reason else said.state


def _pursuit(said: PolicyStatus) -> str:
    if said.state == said.IDLE:
        return f"no goal; {said.goal} ended: {said.reason}" if said.goal else "no goal yet"
    return f"goal {said.goal}, {_state(said)}{_distance(said.steps_to_goal)}"


def _distance(steps_to_goal: float) -> str:
    return "" if math.isnan(steps_to_goal) else f", {steps_to_goal:.1f} steps to the goal"


def send(operator: Operator, goal: str, timeout_s: str) -> int:
    """Ask for a goal and follow it to its end, which Ctrl-C brings about. 0 only where it was reached."""
    from rclpy.action import ActionClient

    from mqe_interfaces.action import ReachGoal

    client = ActionClient(operator.node, ReachGoal, services.REACH_GOAL)
    operator.find(client.server_is_ready, "policy_node")
    request = ReachGoal.Goal(goal_file=goal, timeout_s=float(timeout_s))
    pursuit = _Pursuit(operator, sys.stdout)
    try:
        handle = operator.ask(
            lambda: client.send_goal_async(request, feedback_callback=pursuit.show),
            "policy_node's answer to the goal",
            only_newest=True,
        )
    except TimeoutError as error:
        raise RuntimeError(f"{error}; whether the arm moves is not known: mqe arm hold stops it") from error
    _say(f"sent {goal}; Ctrl-C cancels it")
    interrupted = False
    try:
        result = pursuit.end(handle.get_result_async, float(timeout_s))
    except KeyboardInterrupt:
        interrupted = True
        pursuit.say("canceling the goal")
        operator.ask(handle.cancel_goal_async, "policy_node's answer to the cancellation")
        result = pursuit.end(handle.get_result_async, _PATIENCE_S)
    pursuit.say(
        f"{pursuit.hindrance()}{_outcome(result)} ({result.steps} commands, {result.seconds:.1f} s{_distance(result.steps_to_goal)})"
    )
    if result.outcome == ReachGoal.Result.REACHED:
        return 0
    return _INTERRUPTED if interrupted else 1


def _outcome(result: ReachGoal.Result) -> str:
    return f"{result.outcome}: {result.reason}" if result.reason else result.outcome


class _Pursuit:
    """The progress of one goal: a line that is written again and again on a terminal; elsewhere a line now and then."""

    def __init__(self, operator: Operator, out: TextIO) -> None:
        from mqe_ros import topics

        self._operator, self._out = operator, out
        self._arm: list[ArmStatus] = operator.hear(topics.ARM_STATUS)
        self._terminal = out.isatty()
        self._heard = time.monotonic()
        self._shown, self._state = -math.inf, ("", "")
        self._open_line = False

    def end(self, ask: Callable[[], Future], timeout_s: float) -> ReachGoal.Result:
        """The goal's result, at most a while after `timeout_s` seconds. KeyboardInterrupt after Ctrl-C, RuntimeError where policy_node is gone."""
        from action_msgs.msg import GoalStatus

        self._heard = time.monotonic()
        given = answer(ask, self._listen, timeout_s + _SILENCE_S, "the end of the goal")
        if given.status == GoalStatus.STATUS_UNKNOWN:
            raise RuntimeError("policy_node does not know the goal any more; was it started again?")
        return given.result

    def show(self, message: object) -> None:
        """A feedback message."""
        said, self._heard = message.feedback, time.monotonic()
        state = (said.state, self.hindrance())
        if not self._terminal and state == self._state and self._heard - self._shown < _LINE_S:
            return
        self._shown, self._state = self._heard, state
        text = f"{state[1]}{_state(said)}{_distance(said.steps_to_goal)}, command {said.steps}"
        if self._terminal:
            self._out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
            self._out.flush()
            self._open_line = True
        else:
            _say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._open_line:
            self._out.write("\n")
            self._open_line = False
        _say(text)

    def hindrance(self) -> str:
        """What policy_node does not know: it goes on while the arm refuses everything."""
        arm = self._arm[-1] if self._arm else None
        if arm is None:
            return ""
        if arm.state in (arm.HELD, arm.FAULT):
            return f"the arm is {_state(arm)}; "
        return f"the arm refuses: {arm.refused}; " if arm.refused else "DRY RUN; " if arm.dry_run else ""

    def _listen(self) -> None:
        self._operator.listen_or_stop()
        if time.monotonic() - self._heard > _SILENCE_S:
            raise RuntimeError(
                f"nothing heard from policy_node for {_SILENCE_S:.0f} s; whether the arm moves is not known: mqe arm hold stops it"
            )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


_QUESTIONS = {
    "hold": ("mqe arm hold", hold),
    "resume": ("mqe arm resume", resume),
    "home": ("mqe arm home", home),
    "status": ("mqe arm status", status),
    "send": ("mqe goal send", send),
}


def main() -> None:
    command, question = _QUESTIONS[sys.argv[1]]
    try:
        with Operator() as operator:
            sys.exit(question(operator, *sys.argv[2:]))
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"{command}: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write(f"{command}: interrupted\n")
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
