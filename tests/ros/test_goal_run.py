"""Promise: a goal ends once, with the first outcome, and its progress is judged by the node's thresholds."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_core.policy.goal_progress import REACHED, Progress
from mqe_interfaces.action import ReachGoal
from mqe_ros.goal_run import GoalRun


def make(results: list[ReachGoal.Result], timeout_s: float | None = None) -> GoalRun:
    return GoalRun("name", np.zeros((2, 2, 3), np.uint8), "sim", timeout_s, results.append)


def test_the_first_end_counts() -> None:
    results = []
    goal = make(results)
    goal.count_step(3.0)
    goal.end(ReachGoal.Result.CANCELED, "first")
    goal.end(ReachGoal.Result.TIMEOUT, "second")
    assert [(r.outcome, r.reason, r.steps, r.steps_to_goal) for r in results] == [("canceled", "first", 1, 3.0)]


def test_every_command_is_counted_and_judged() -> None:
    goal = make([])
    assert [goal.count_step(1.0) for _ in range(2)] == [None, None]  # before the node says what counts
    goal.progress = Progress(2.0, None, 2)
    assert [goal.count_step(distance) for distance in (1.0, 1.5)] == [None, REACHED]
    assert goal.steps == 4 and goal.steps_to_goal == 1.5


def test_a_goal_is_overdue_after_its_timeout_only() -> None:
    assert make([], timeout_s=0.0).overdue
    assert not make([], timeout_s=60.0).overdue
    assert not make([], timeout_s=None).overdue


def test_a_file_may_have_any_name_and_the_goal_has_a_short_one() -> None:
    name = GoalRun("\x1b[2J" * 60, np.zeros((2, 2, 3), np.uint8), "sim", None, lambda _: None).name
    assert 0 < len(name.encode()) <= 100 and name.isprintable()
