"""Promise: the running nodes have the documented names and types, the arm does what it is told where that breaks no
rule, and an operator's hold always wins.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from rcl_interfaces.msg import Log
from rclpy.action import get_action_names_and_types

from mqe_bringup.process import node
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand
from mqe_ros import convert, topics
from tests.ros.ros_helpers import STEP_M, Client, reach, target

SPEC = load_robot_spec()
NAMES_AND_TYPES = {  # as docs/ros.md states them
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
    np.testing.assert_allclose(target(arm), forward_kinematics(SPEC, SPEC.neutral_rad), atol=1e-3)


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
    publisher = arm.publisher(topics.COMMAND, 2)
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


def test_what_the_arm_logs_reaches_rosout(arm: Client) -> None:
    """The listener for a second arm, in the same process, must not end that."""
    heard: list[Log] = []
    subscription = arm.node.create_subscription(Log, "/rosout", heard.append, 10)
    publisher = arm.publisher(topics.COMMAND, 2)

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
    publisher = arm.publisher(topics.COMMAND, 2)
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
