"""Promise: a goal ends once, with the first outcome, and is reached only where a distance is asked for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_interfaces.action import ReachGoal
from mqe_ros.goal_run import GoalRun


def make(results: list[ReachGoal.Result], timeout_s: float | None = None) -> GoalRun:
    return GoalRun("name", np.zeros((2, 2, 3), np.uint8), "sim", timeout_s, results.append)


def test_the_first_end_counts() -> None:
    results = []
    goal = make(results)
    goal.count_step(3.0, 0.0, 1)
    goal.end(ReachGoal.Result.CANCELED, "first")
    goal.end(ReachGoal.Result.TIMEOUT, "second")
    assert [(r.outcome, r.reason, r.steps, r.steps_to_goal) for r in results] == [
        ("canceled", "first", 1, 3.0)
    ]


def test_reached_needs_a_run_of_small_distances() -> None:
    goal = make([])
    answers = [goal.count_step(distance, 2.0, 2) for distance in (1.0, 3.0, 2.0, 1.5)]
    assert answers == [False, False, False, True]


def test_nothing_is_reached_without_a_threshold_or_a_critic() -> None:
    goal = make([])
    assert not any(goal.count_step(0.0, 0.0, 1) for _ in range(3))
    assert not any(goal.count_step(None, 5.0, 1) for _ in range(3))


def test_a_goal_is_overdue_after_its_timeout_only() -> None:
    assert make([], timeout_s=0.0).overdue
    assert not make([], timeout_s=60.0).overdue
    assert not make([], timeout_s=None).overdue
