"""Promise: who follows a goal hears of that one only, and is not left waiting for a policy node that is gone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rclpy.task import Future

from mqe_interfaces.action import ReachGoal
from mqe_ros.goal_client import Heard, SentGoal


def sent(result: Callable[[], Future], silence_s: float = 10.0) -> SentGoal:
    """A goal whose result is asked for in that way."""
    handle = SimpleNamespace(get_result_async=result)
    return SentGoal(handle, Heard(lambda feedback: None), lambda: None, lambda: None, silence_s)


def test_a_policy_node_that_falls_silent_is_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="nothing heard from policy_node .*mqe arm hold"):
        sent(Future, silence_s=0.1).result(60.0)


def test_a_goal_that_a_restarted_policy_node_does_not_know_is_over() -> None:
    unknown = Future()
    unknown.set_result(SimpleNamespace(status=0, result=ReachGoal.Result()))
    with pytest.raises(RuntimeError, match="was it started again"):
        sent(lambda: unknown).result(60.0)


def test_feedback_on_an_earlier_asking_is_not_shown() -> None:
    shown: list[int] = []
    heard = Heard(lambda feedback: shown.append(feedback.steps))
    first, second = heard.anew(), heard.anew()
    first(SimpleNamespace(feedback=ReachGoal.Feedback(steps=1)))
    second(SimpleNamespace(feedback=ReachGoal.Feedback(steps=2)))
    assert shown == [2]
