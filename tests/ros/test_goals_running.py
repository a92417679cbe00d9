"""Promise: a running graph pursues goals on request, one at a time, and says how each ended.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from action_msgs.srv import CancelGoal
from sensor_msgs.msg import Image

from mqe_core.robot.geometry import pose_to_state
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand, PolicyStatus
from mqe_ros import convert, topics
from tests.ros.ros_helpers import STEP_M, STEPS_TO_GOAL, Client, Goal, reach, target

SPEC = load_robot_spec()


def test_a_goal_moves_the_target_by_exactly_the_actions_sent(homed: Client) -> None:
    arm = homed
    before = target(arm)
    arm.heard["/policy/command"].clear()
    goal = reach(arm, timeout_s=3.0)
    result = goal.result()
    assert (result.outcome, result.steps_to_goal) == (ReachGoal.Result.TIMEOUT, STEPS_TO_GOAL)
    assert 2.5 < result.seconds < 4.5
    commands: list[EndEffectorCommand] = arm.heard["/policy/command"]
    assert result.steps == len(commands) >= 5
    assert len({command.session for command in commands}) == 1
    assert np.diff([command.sequence for command in commands]).tolist() == [1] * (len(commands) - 1)
    assert all(command.header.frame_id == SPEC.base_frame for command in commands)
    np.testing.assert_allclose(commands[0].action, [STEP_M, 0, 0, 0, 0, 0, 1], atol=1e-7)
    arm.spin(0.3)
    moved = target(arm)[:3, 3] - before[:3, 3]
    np.testing.assert_allclose(moved, [len(commands) * STEP_M, 0, 0], atol=1e-5)
    assert pose_to_state(target(arm), 1.0)[3:6] == pytest.approx(pose_to_state(before, 1.0)[3:6], abs=1e-5)
    assert {feedback.steps_to_goal for feedback in goal.feedback if feedback.steps} == {STEPS_TO_GOAL}


def test_the_policys_status_names_goal_session_and_latency(arm: Client) -> None:
    goal = reach(arm)
    goal.moving()
    status = arm.newest("/policy/status")
    command = arm.newest("/policy/command")
    assert (status.state, status.goal, status.session) == (PolicyStatus.RUNNING, "corner", command.session)
    assert 0 < status.latency_ms < 1000 and status.steps_to_goal == STEPS_TO_GOAL
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED
    status = arm.wait(lambda: (s := arm.newest("/policy/status")).state == PolicyStatus.IDLE and s, "idle")
    assert status.reason.startswith("canceled") and math.isnan(status.steps_to_goal)


def test_a_cancelled_goal_sends_nothing_more_and_the_arm_says_so(arm: Client) -> None:
    goal = reach(arm)
    goal.moving()
    goal.cancel()
    goal.result()
    arm.heard["/policy/command"].clear()
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.READY, "the arm's return to ready")
    assert "no command" in arm.newest("/arm/status").reason
    assert arm.heard["/policy/command"] == []


def test_a_new_goal_replaces_the_one_in_force(arm: Client) -> None:
    first = reach(arm)
    first.moving()
    second = reach(arm)
    result = first.result()
    assert (result.outcome, result.reason) == (ReachGoal.Result.PREEMPTED, "replaced by the goal corner")
    second.moving()
    second.cancel()
    assert second.result().outcome == ReachGoal.Result.CANCELED


def test_goals_in_quick_succession_end_each_the_one_before(arm: Client) -> None:
    goals = [reach(arm) for _ in range(3)]
    assert [goal.result().outcome for goal in goals[:2]] == [ReachGoal.Result.PREEMPTED] * 2
    goals[2].moving()
    goals[2].cancel()
    assert goals[2].result().outcome == ReachGoal.Result.CANCELED


def test_an_invalid_goal_leaves_the_one_in_force_alone(arm: Client, user_folder: Path) -> None:
    for suffix in (".png", ".yaml"):
        shutil.copy(user_folder / "goals" / f"corner{suffix}", user_folder / f"photo{suffix}")
    meaning = user_folder / "photo.yaml"
    meaning.write_text(
        meaning.read_text().replace("domain: sim", "domain: real").replace("task: place1\nseed: 4\n", "")
    )
    goal = reach(arm)
    goal.moving()
    for request, reason in (
        (ReachGoal.Goal(goal_file="nowhere", timeout_s=1.0), "known goals"),
        (ReachGoal.Goal(goal_file=str(user_folder / "photo.png"), timeout_s=1.0), "shows real images"),
    ):
        result = Goal(arm, request).result()
        assert result.outcome == ReachGoal.Result.FAILED and reason in result.reason
    steps = goal.feedback[-1].steps
    arm.wait(lambda: goal.feedback[-1].steps > steps + 1, "further motion")
    goal.cancel()
    assert goal.result().outcome == ReachGoal.Result.CANCELED


def test_a_client_that_vanishes_leaves_a_goal_that_others_can_end(arm: Client) -> None:
    gone = Client()
    Goal(gone, ReachGoal.Goal(goal_file="corner", timeout_s=60.0)).moving()
    gone.close()
    moved = target(arm)[0, 3]
    arm.wait(lambda: target(arm)[0, 3] > moved + STEP_M, "motion without the client")
    # As `ros2 action` clients do it: all goals of the server.
    answer = arm.ask(CancelGoal, "/reach_goal/_action/cancel_goal", CancelGoal.Request())
    assert len(answer.goals_canceling) == 1
    arm.wait(lambda: arm.newest("/policy/status").state == PolicyStatus.IDLE, "the end of the goal")
    assert arm.newest("/policy/status").reason == "canceled: by the client"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ReachGoal.Goal(goal_file="corner", timeout_s=0.0), "timeout_s must be greater than 0"),
        (ReachGoal.Goal(timeout_s=1.0), "give a goal_image or a goal_file"),
        (ReachGoal.Goal(goal_file="nowhere", timeout_s=1.0), "known goals: corner.png"),
        (
            ReachGoal.Goal(
                goal_image=Image(encoding="rgb8", height=4, width=4, step=12, data=bytes(48)), timeout_s=1.0
            ),
            "shows no goal",
        ),
    ],
    ids=["timeout", "nothing", "unknown", "black"],
)
def test_a_goal_that_cannot_be_pursued_fails_with_the_reason(
    arm: Client, request_: ReachGoal.Goal, reason: str
) -> None:
    result = Goal(arm, request_).result()
    assert result.outcome == ReachGoal.Result.FAILED and reason in result.reason


def test_a_goal_may_come_as_an_image_and_is_shown_to_late_listeners(arm: Client) -> None:
    image = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    message = convert.array_to_image(image, arm.node.get_clock().now().to_msg(), "")
    goal = Goal(arm, ReachGoal.Goal(goal_image=message, timeout_s=30.0))
    goal.moving()
    late = []
    arm.node.create_subscription(topics.GOAL_IMAGE.type, topics.GOAL_IMAGE.name, late.append, topics.GOAL_IMAGE.qos)
    arm.wait(lambda: late, "the latched goal image")
    np.testing.assert_array_equal(convert.image_to_array(late[-1]), image)
    goal.cancel()
    goal.result()
