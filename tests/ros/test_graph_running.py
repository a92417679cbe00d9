"""Promise: the running nodes have the documented names and types, reach goals on request, and an operator's
hold always wins.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from action_msgs.srv import CancelGoal
from rcl_interfaces.msg import Log
from rclpy.action import get_action_names_and_types
from ros_helpers import STEP_M, STEPS_TO_GOAL, Client, Goal
from sensor_msgs.msg import Image

from mqe_bringup.graph import build_graph
from mqe_bringup.process import node
from mqe_bringup.supervisor import Supervisor
from mqe_core.geometry import pose_to_state
from mqe_core.kinematics import forward_kinematics
from mqe_core.spec import load_robot_spec
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand, PolicyStatus
from mqe_ros import convert, topics

SPEC = load_robot_spec()
NAMES_AND_TYPES = {  # as docs/interfaces.md states them
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/goal/image": "sensor_msgs/msg/Image",
    "/policy/command": "mqe_interfaces/msg/EndEffectorCommand",
    "/policy/status": "mqe_interfaces/msg/PolicyStatus",
    "/arm/ee_pose": "geometry_msgs/msg/PoseStamped",
    "/arm/ee_target": "geometry_msgs/msg/PoseStamped",
    "/joint_states": "sensor_msgs/msg/JointState",
    "/arm/status": "mqe_interfaces/msg/ArmStatus",
    "/arm/intended_path": "visualization_msgs/msg/MarkerArray",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}


@pytest.fixture(scope="module")
def running(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    graph = build_graph({"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield supervisor
    codes = supervisor.stop()
    assert codes == {"arm_node": 0, "camera_node": 0, "policy_node": 0}, {
        name: supervisor.log_tail(name) for name in codes
    }


@pytest.fixture
def arm(running: Supervisor, client: Client) -> Client:
    """A client that hears every node; the arm takes commands."""
    for name in ("/arm/status", "/arm/ee_target", "/policy/status", "/camera/image_raw"):
        client.wait(lambda name=name: running.ended() or client.newest(name), f"the first message on {name}")
    assert running.ended() is None
    client.call("/arm/resume")
    return client


@pytest.fixture
def homed(arm: Client) -> Client:
    """… and has moved to the neutral joints' pose."""
    assert arm.call("/arm/home").success
    arm.wait(lambda: arm.newest("/arm/status").reason == "homing", "homing")
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.READY, "the end of homing")
    return arm


def target(client: Client) -> np.ndarray:
    return convert.pose_to_matrix(client.newest("/arm/ee_target").pose)


def reach(client: Client, timeout_s: float = 30.0) -> Goal:
    return Goal(client, ReachGoal.Goal(goal_file="corner", timeout_s=timeout_s))


def test_names_and_types_are_those_documented(arm: Client) -> None:
    arm.wait(
        lambda: all(arm.node.count_publishers(name) for name in NAMES_AND_TYPES),
        "the discovery of all publishers",
    )
    found = dict(arm.node.get_topic_names_and_types())
    assert {name: found[name] for name in NAMES_AND_TYPES} == {name: [kind] for name, kind in NAMES_AND_TYPES.items()}
    services = dict(arm.node.get_service_names_and_types())
    for name in ("/arm/hold", "/arm/resume", "/arm/home"):
        assert services[name] == ["std_srvs/srv/Trigger"]
    assert ("/reach_goal", ["mqe_interfaces/action/ReachGoal"]) in get_action_names_and_types(arm.node)


def test_the_arms_messages_agree_with_each_other_and_with_the_spec(homed: Client) -> None:
    arm = homed
    joints = arm.newest("/joint_states")
    assert joints.name == [*SPEC.joint_names, "left_finger", "right_finger"]
    assert joints.position[6] == -joints.position[7]
    # After homing: at the neutral joints' pose, with the tool where forward kinematics says.
    arm.spin(0.5)
    joints, pose = arm.newest("/joint_states"), arm.newest("/arm/ee_pose")
    assert pose.header.frame_id == SPEC.base_frame
    np.testing.assert_allclose(
        convert.pose_to_matrix(pose.pose), forward_kinematics(SPEC, np.array(joints.position[:6])), atol=1e-6
    )
    np.testing.assert_allclose(target(arm), forward_kinematics(SPEC, SPEC.neutral_joints), atol=1e-3)


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


def test_hold_stops_the_arm_until_resume(arm: Client) -> None:
    goal = reach(arm)
    goal.moving()
    answer = arm.call("/arm/hold")
    assert answer.success
    arm.wait(lambda: arm.newest("/arm/status").refused == "held", "a refused command")
    held = target(arm)
    arm.heard["/arm/ee_target"].clear()
    arm.spin(0.8)  # four more commands
    assert arm.newest("/arm/status").state == ArmStatus.HELD
    for message in arm.heard["/arm/ee_target"]:
        np.testing.assert_array_equal(convert.pose_to_matrix(message.pose), held)
    assert not arm.call("/arm/home").success  # a held arm does not move for anybody
    assert arm.call("/arm/resume").success
    arm.wait(lambda: target(arm)[0, 3] > held[0, 3] + STEP_M, "motion after the resume")
    goal.cancel()
    goal.result()


def test_a_command_that_breaks_a_rule_is_refused_by_name_and_moves_nothing(homed: Client) -> None:
    arm = homed
    publisher = arm.node.create_publisher(topics.COMMAND.type, topics.COMMAND.name, topics.COMMAND.qos)
    # Two subscribers: the arm, and this client itself.
    arm.wait(lambda: publisher.get_subscription_count() >= 2, "the discovery of the arm")
    arm.spin(0.6)  # longer than a session lives without commands
    before = target(arm)
    below = convert.matrix_to_pose(before)
    below.position.z -= 0.01
    broken = convert.matrix_to_pose(before)
    broken.position.z = float("nan")
    half = convert.matrix_to_pose(before)
    half.orientation.w *= 0.5
    half.orientation.y *= 0.5

    def answer(sequence: int, session: str = "test", frame: str = SPEC.base_frame, pose=below) -> str:
        message = EndEffectorCommand(session=session, sequence=sequence, target=pose, gripper=1.0)
        message.header.frame_id = frame
        publisher.publish(message)
        status = arm.wait(
            lambda: (s := arm.newest("/arm/status")).session == session and s.sequence == sequence and s,
            f"an answer to {session} {sequence}",
        )
        return status.refused

    assert answer(1, frame="camera") == "wrong_frame"
    assert answer(2, pose=broken) == "not_finite"
    assert answer(3, pose=half) == "not_a_pose"
    np.testing.assert_allclose(target(arm), before, atol=1e-9)
    assert answer(5) == ""
    arm.wait(lambda: target(arm)[2, 3] < before[2, 3] - 0.005, "motion by the good command")
    arm.spin(0.2)
    assert answer(4) == "out_of_order"
    assert answer(6, session="other") == "wrong_session"
    np.testing.assert_allclose(target(arm)[:3, 3] - before[:3, 3], [0, 0, -0.01], atol=1e-5)


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


def test_what_the_arm_logs_reaches_rosout(arm: Client) -> None:
    """The listener for a second arm, in the same process, must not end that."""
    heard: list[Log] = []
    subscription = arm.node.create_subscription(Log, "/rosout", heard.append, 10)
    publisher = arm.node.create_publisher(topics.COMMAND.type, topics.COMMAND.name, topics.COMMAND.qos)
    arm.wait(lambda: publisher.get_subscription_count() >= 2, "the discovery of the arm")

    no_rotation = EndEffectorCommand()
    no_rotation.target.orientation.w = 0.0

    def warned() -> bool:
        publisher.publish(no_rotation)
        return any(log.name == "arm_node" and "command refused" in log.msg for log in heard)

    arm.wait(warned, "the arm's warning on /rosout")
    arm.node.destroy_subscription(subscription)
    arm.node.destroy_publisher(publisher)


def test_a_command_that_waited_while_the_arms_process_stood_still_is_not_done(
    homed: Client, running: Supervisor
) -> None:
    arm = homed
    publisher = arm.node.create_publisher(topics.COMMAND.type, topics.COMMAND.name, topics.COMMAND.qos)
    arm.wait(lambda: publisher.get_subscription_count() >= 2, "the discovery of the arm")
    before = target(arm)
    message = EndEffectorCommand(session="old", sequence=1, target=convert.matrix_to_pose(before), gripper=1.0)
    message.header.frame_id = SPEC.base_frame
    message.target.position.z -= 0.01
    os.kill(running.pids["arm_node"], signal.SIGSTOP)
    try:
        publisher.publish(message)
        time.sleep(2 * SPEC.control.max_command_age_s)
    finally:
        os.kill(running.pids["arm_node"], signal.SIGCONT)
    arm.wait(lambda: arm.newest("/arm/status").session == "old", "the answer to the command")
    assert arm.newest("/arm/status").refused == "stale"
    arm.spin(0.3)
    np.testing.assert_allclose(target(arm), before, atol=1e-9)


def test_a_second_arm_in_the_same_domain_is_refused(arm: Client) -> None:
    second = node("arm_node", {"backend": "mock"})
    ended = subprocess.run(second.command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert (
        ended.returncode == 1
        and "another arm_node runs in ROS domain" in ended.stderr
        and "Traceback" not in ended.stderr
    )
    before = len(arm.heard["/arm/status"])
    arm.wait(lambda: len(arm.heard["/arm/status"]) > before + 2, "the first arm's status")


def test_every_node_reports_diagnostics(arm: Client) -> None:
    arm.wait(
        lambda: (
            {status.name for message in arm.heard["/diagnostics"] for status in message.status}
            >= {"arm_node: control", "camera_node: control", "policy_node: control"}
        ),
        "diagnostics of all nodes",
    )
