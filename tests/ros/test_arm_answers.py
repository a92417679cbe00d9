"""Promise: a goal's commands that the arm refuses are counted and told, with what helps; those of before are not."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_core.robot.safety_rules import FREED_BY_HOMING, JOINT_JUMP, NOT_NOW, REFUSE_RULES
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus
from mqe_ros.arm_answers import ArmAnswers
from mqe_ros.goal_run import GoalRun
from mqe_ros.remedies import refusal, with_remedy


def answered(sequence: int, refused: str = "", reason: str = "", session: str = "ours") -> ArmStatus:
    return ArmStatus(session=session, sequence=sequence, refused=refused, reason=reason)


@pytest.mark.parametrize("rule", [*REFUSE_RULES, *NOT_NOW])
def test_a_refusal_that_homing_frees_says_so_wherever_it_is_said(rule: str) -> None:
    reason = with_remedy(f"{rule}: some detail")
    assert ("; mqe arm home frees it" in reason) == (rule in FREED_BY_HOMING)
    assert ("; mqe arm resume lets it move" in refusal(rule, reason)) == (rule == "held")
    assert refusal(rule, reason).startswith(f"the arm refuses: {rule}: some detail")


def test_other_reasons_stay_as_they_are() -> None:
    for reason in ("", "operator", "homing", "no command for 0.4 s", "workspace, table"):
        assert with_remedy(reason) == reason
    assert refusal("held", "operator") == "the arm refuses: held: operator; mqe arm resume lets it move"
    assert refusal("parking", "") == "the arm refuses: parking"


def test_each_command_counts_once_and_only_ours_since_the_goal_began() -> None:
    answers = ArmAnswers("ours")
    answers.send(3)
    answers.hear(answered(2**64 - 1, "held", "operator"))  # to a command that was never sent
    answers.hear(answered(1, "held", "operator"))
    answers.begin()
    answers.hear(answered(1, "held", "operator"))  # told again, each control period
    assert answers.refused == (0, "")
    for status in (answered(2, JOINT_JUMP, "joint_jump: x"), answered(2, JOINT_JUMP, "no command for 0.4 s")):
        answers.hear(status)
    assert answers.refused == (1, "the arm refuses: joint_jump: x")
    answers.hear(answered(9, "stale", session="another"))
    assert answers.refused[0] == 1
    answers.hear(answered(3))
    assert answers.refused == (1, "")


def test_the_answer_to_the_last_command_is_waited_for_but_not_long() -> None:
    answers = ArmAnswers("ours")
    answers.send(1)
    begun = time.monotonic()
    answers.wait_for(1, 0.01)
    assert time.monotonic() - begun >= 0.01
    soon = threading.Timer(0.05, answers.hear, (answered(1, "path", "path: x"),))
    soon.start()
    answers.wait_for(1, 60.0)
    assert answers.refused == (1, "the arm refuses: path: x")
    soon.join()


def test_a_goals_result_counts_what_the_arm_took_and_says_why_not_more() -> None:
    results: list[ReachGoal.Result] = []
    goal = GoalRun("cup", np.zeros((2, 2, 3), np.uint8), "sim", None, results.append)
    for _ in range(5):
        goal.count_step(7.0)
    goal.refused, goal.refusal = 4, "the arm refuses: joint_jump: x; mqe arm home frees it"
    goal.end(ReachGoal.Result.STALLED, "not getting closer")
    assert results[0].steps == 1
    assert results[0].reason == (
        "not getting closer; 4 of 5 commands were refused; the arm refuses: joint_jump: x; mqe arm home frees it"
    )
