"""What an operator asks of a running graph: `mqe arm …` and `mqe goal send`.

It runs as `python -m mqe_bringup.operate QUESTION …`. What a hold does not need is imported where it is needed, so that
a hold is quick.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from mqe_bringup.progress_line import ProgressLine, distance, state_and_reason
from mqe_core import ros_names
from mqe_core.robot.safety_rules import HOMING
from mqe_ros import transports

if TYPE_CHECKING:
    from rclpy.client import Client

    from mqe_bringup.operator_node import Operator
    from mqe_interfaces.msg import ArmStatus, PolicyStatus

_HOMING_S = 40.0  # the arm's side gives up after 30 s itself
_SILENCE_S = 10.0  # policy_node sends feedback five times a second
_INTERRUPTED = 130  # the exit code that shells give


def hold(operator: Operator) -> int:
    return _hold(operator, lambda: operator.connect(ros_names.HOLD))


def _hold(operator: Operator, connect: Callable[[], Client]) -> int:
    try:
        answer = operator.trigger(connect())
    except (RuntimeError, OSError) as error:
        raise RuntimeError(f"the arm may not be holding: {error}") from error
    _say_if_possible(answer)
    return 0


def resume(operator: Operator) -> int:
    from mqe_ros import topics

    policy: list[PolicyStatus] = operator.hear(topics.POLICY_STATUS)
    _say(operator.trigger(operator.connect(ros_names.RESUME)))
    operator.listen_for(lambda: policy)
    if policy and policy[-1].state != policy[-1].IDLE:
        _say(f"the goal {policy[-1].goal} is in force: the arm moves on")
    return 0


def home(operator: Operator) -> int:
    """Move the arm to its neutral pose, and wait until it is there. RuntimeError where it stops on the way.

    Ctrl-C holds the arm.
    """
    from mqe_ros import topics

    states: list[ArmStatus] = operator.hear(topics.ARM_STATUS)
    operator.find(lambda: states, "arm_node")  # from here on none is missed
    states.clear()
    # Before anything moves: a second Ctrl-C must not come between the first and the hold.
    brake = operator.connect(ros_names.HOLD)
    operator.trigger(operator.connect(ros_names.HOME))
    _say("homing; Ctrl-C holds the arm")
    try:
        operator.wait(lambda: _after_homing(states), "homing has not ended; see mqe arm status", _HOMING_S)
    except KeyboardInterrupt:
        _hold(operator, lambda: brake)
        return _INTERRUPTED
    ended = _after_homing(states)
    assert ended is not None  # waited for
    is_done = ended.state == ended.HELD and ended.reason.startswith(f"{HOMING} is done")
    if is_done and ended.commander == ended.OPERATOR:
        _say("home, and still the operator's: mqe arm resume gives the arm back to the policy")
        return 0
    if is_done:
        _say("home, and held, as commands keep coming in: mqe arm resume lets them move the arm again")
        return 0
    if ended.state != ended.READY:
        raise RuntimeError(f"the arm is not home: {state_and_reason(ended)}")
    _say("home")
    return 0


def _after_homing(states: list[ArmStatus]) -> ArmStatus | None:
    """The first status after those of the homing. None while there is none."""
    for before, state in pairwise(states):
        if before.reason == HOMING != state.reason:
            return state
    return None


def status(operator: Operator) -> int:
    """Print what arm_node and policy_node say now."""
    from mqe_ros import topics

    arm, poses, policy = (operator.hear(topic) for topic in (topics.ARM_STATUS, topics.EE_POSE, topics.POLICY_STATUS))
    operator.find(lambda: arm, "arm_node")
    operator.listen_for(lambda: poses and policy)
    hand = poses[-1].pose.position if poses else None
    whose = f", by the {arm[-1].commander}" if arm[-1].state == arm[-1].MOVING and arm[-1].commander else ""
    _say(f"arm     {state_and_reason(arm[-1])}{whose}{', DRY RUN: nothing moves' if arm[-1].dry_run else ''}")
    _say(f"hand    {'its pose is not known' if hand is None else f'at ({hand.x:.3f}, {hand.y:.3f}, {hand.z:.3f}) m'}")
    _say(f"policy  {_pursuit(policy[-1]) if policy else 'says nothing: policy_node is not active, or not there'}")
    for topic in (topics.ARM_STATUS, topics.EE_POSE, topics.POLICY_STATUS):
        if several := operator.several(topic):
            _say(f"        {several}")
    return 0


def _pursuit(said: PolicyStatus) -> str:
    if said.state == said.IDLE:
        return f"no goal; {said.goal} ended: {said.reason}" if said.goal else "no goal yet"
    return f"goal {said.goal}, {state_and_reason(said)}{distance(said.steps_to_goal)}"


def send(operator: Operator, goal: str, timeout_s: str, anyway: str = "") -> int:
    """Ask for a goal and follow it to its end. 0 only where it was reached. Ctrl-C cancels it.

    Where `anyway` is not empty, a goal that counts as unreachable is pursued as well.
    """
    from mqe_bringup.operator_node import PATIENCE_S
    from mqe_interfaces.action import ReachGoal
    from mqe_ros import topics
    from mqe_ros.goal_client import GoalClient

    client = GoalClient(operator.node, operator.listen, operator.listen_or_stop, _SILENCE_S)
    operator.find(client.is_there, "policy_node")
    if several := operator.several(topics.POLICY_STATUS):
        raise RuntimeError(f"nothing was asked, as each would pursue the goal: {several}")
    line = ProgressLine(operator.hear(topics.ARM_STATUS), sys.stdout)
    accepted = False

    def show(said: ReachGoal.Feedback) -> None:
        """The first one tells that the goal's files are read, and the goal is in force."""
        nonlocal accepted
        if not accepted:
            accepted = True
            line.say(f"sent {goal}; Ctrl-C cancels it")
        line.show(said)

    try:
        request = ReachGoal.Goal(goal_file=goal, timeout_s=float(timeout_s), anyway=bool(anyway))
        sent = client.send(request, PATIENCE_S, show)
    except TimeoutError as error:
        raise RuntimeError(f"{error}; whether the arm moves is not known: mqe arm hold stops it") from error
    interrupted = False
    try:
        result = sent.result(float(timeout_s) + _SILENCE_S)
    except KeyboardInterrupt:
        interrupted = True
        line.say("canceling the goal")
        sent.cancel(PATIENCE_S)
        result = sent.result(PATIENCE_S + _SILENCE_S)
    outcome = f"{result.outcome}: {result.reason}" if result.reason else result.outcome
    figures = f"{result.steps} commands, {result.seconds:.1f} s{distance(result.steps_to_goal)}"
    line.say(f"{line.hindrance()}{outcome} ({figures})")
    if result.outcome == ReachGoal.Result.REACHED:
        return 0
    return _INTERRUPTED if interrupted else 1


def _say(text: str) -> None:
    print(text, flush=True)  # where there is no output, this is said to nobody


def _say_if_possible(text: str) -> None:
    """Where the output is full or gone, on stderr; where that is as well, to nobody: it is done all the same."""
    try:
        _say(text)
    except OSError:
        sys.stdout = None  # Python would try again at its end, and say that it failed
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)


_QUESTIONS: dict[str, tuple[str, Callable[..., int]]] = {
    "hold": ("mqe arm hold", hold),
    "resume": ("mqe arm resume", resume),
    "home": ("mqe arm home", home),
    "status": ("mqe arm status", status),
    "send": ("mqe goal send", send),
}


def main() -> None:
    command, question = _QUESTIONS[sys.argv[1]]
    transports.spare_full_shared_memory()
    try:
        from mqe_bringup.operator_node import Operator
    except ImportError as error:
        sys.stderr.write(f"{command}: nothing was asked: ROS cannot be loaded ({error}); mqe doctor says more\n")
        sys.exit(1)
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
