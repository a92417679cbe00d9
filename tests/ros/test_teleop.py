"""Promise: a pad moves the arm while its dead-man is held, and takes it from a policy without a jump. Only a resume
gives it back.

Real processes on the mock backend, started once for the whole file.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

import rclpy
from sensor_msgs.msg import Joy

from mqe_bringup.graph import build_graph
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand
from mqe_ros import topics
from tests.ros.ros_helpers import STEP_M, Client, figures, reach, target
from tests.ros.scripted_pad import DEVICES, ScriptedPad, hostile_joys
from tests.ros.test_hostile_messages import commands as commanded
from tests.ros.test_hostile_messages import damaged

PERIOD_S = load_robot_spec().control.period_s
HALF_SPEED_M = 0.5 * DEVICES.fastest_m_per_s * PERIOD_S  # of one command at full deflection


@pytest.fixture(scope="module")
def running(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    arguments = {"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store), "teleop": "topic"}
    graph = build_graph(arguments)
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    patient = {"max_joy_age_s": 1.0}  # this process publishes /joy, and may not get a core for a while
    supervisor.start(
        [
            replace(process, parameters={**process.parameters, **patient}) if process.name == "teleop_node" else process
            for process in graph.processes
        ]
    )
    yield supervisor
    codes = supervisor.stop()
    assert codes == {"arm_node": 0, "camera_node": 0, "policy_node": 0, "teleop_node": 0}, {
        name: supervisor.log_tail(name) for name in codes
    }


@pytest.fixture
def pad(homed: Client) -> Iterator[ScriptedPad]:
    """At rest, and the arm is nobody's."""
    pad = ScriptedPad(homed)
    pad.ready()
    yield pad
    pad.down.clear()
    pad.motion = np.zeros(6)
    homed.wait(lambda: status(homed).state != ArmStatus.MOVING, "the arm's hold")
    pad.close()
    homed.call("/arm/resume")


def status(client: Client) -> ArmStatus:
    return client.newest("/arm/status")


def until_held(client: Client) -> None:
    client.wait(lambda: status(client).state == ArmStatus.HELD, "the hold")


def commands(client: Client) -> list[EndEffectorCommand]:
    return client.heard["/operator/command"]


def test_holding_the_dead_man_without_a_motion_takes_the_arm_and_keeps_it_where_it_is(pad: ScriptedPad) -> None:
    arm = pad.client
    before = target(arm)
    commands(arm).clear()
    pad.take()
    arm.wait(lambda: len(commands(arm)) >= 5, "some commands")
    assert status(arm).state == ArmStatus.MOVING
    np.testing.assert_allclose(target(arm), before, atol=1e-6)
    assert all(command.gripper == status(arm).target_gripper for command in commands(arm))


def test_a_stick_moves_the_hand_at_the_robots_rate_in_bridges_units(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    commands(arm).clear()
    before = target(arm)
    begun = time.monotonic()
    pad.motion = np.array([0, 0, -0.5, 0, 0, 0])
    arm.wait(lambda: len(commands(arm)) >= 5, "some commands")
    pad.motion = np.zeros(6)
    arm.wait(lambda: commands(arm)[-1].action[2] == 0.0, "the end of the motion")
    arm.spin(0.3)
    moved = [command for command in commands(arm) if command.action[2] != 0.0]
    np.testing.assert_allclose([command.action[2] for command in moved], -0.5 * HALF_SPEED_M, rtol=1e-5)
    np.testing.assert_allclose(target(arm)[2, 3] - before[2, 3], -0.5 * HALF_SPEED_M * len(moved), atol=1e-5)
    assert len(moved) >= 4 and len(commands(arm)) <= (time.monotonic() - begun) / PERIOD_S + 2
    assert np.isnan(moved[0].steps_to_goal) and moved[0].image_crc32 == 0


def test_letting_go_holds_the_arm_at_once_and_pressing_again_goes_on(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    pad.motion = np.array([0.3, 0, 0, 0, 0, 0])
    arm.spin(0.6)
    pad.down.clear()
    released = time.monotonic()
    until_held(arm)
    assert time.monotonic() - released < 3 * PERIOD_S + 0.5 and "let go" in status(arm).reason
    assert status(arm).commander == "operator"
    commands(arm).clear()
    arm.spin(0.5)
    assert commands(arm) == []
    pad.take()  # the arm says so


def test_an_operator_takes_the_arm_from_a_running_policy_and_a_resume_gives_it_back(pad: ScriptedPad) -> None:
    arm = pad.client
    goal = reach(arm)
    goal.moving()
    arm.wait(lambda: status(arm).commander == "policy", "the policy's command of the arm")
    arm.heard["/arm/ee_target"].clear()
    pad.take()
    arm.spin(1.0)
    steps = np.abs(np.diff([m.pose.position.x for m in arm.heard["/arm/ee_target"]]))
    assert steps.max() < 1.5 * STEP_M  # no jump
    refused = arm.wait(lambda: next((m for m in arm.heard["/arm/status"] if m.refused == "operator"), None), "refusal")
    assert refused.session == arm.newest("/policy/status").session and refused.commander == "operator"
    pad.down.clear()
    until_held(arm)
    still = target(arm)
    arm.spin(1.0)
    np.testing.assert_array_equal(target(arm), still)  # the policy goes on asking
    assert "the arm refuses: operator" in arm.newest("/policy/status").reason
    pad.press("resume")
    arm.wait(lambda: status(arm).commander == "policy", "the policy's turn")
    goal.cancel()
    goal.result()


def test_the_gripper_is_toggled_and_else_stays(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    arm.spin(0.5)
    first = status(arm).target_gripper
    pad.press("gripper", 0.5)
    arm.wait(lambda: status(arm).target_gripper == float(first <= 0.5), "the other opening")
    pad.down.clear()
    until_held(arm)
    pad.press("gripper")  # not while he has let go
    pad.take()
    arm.spin(0.5)
    assert status(arm).target_gripper == float(first <= 0.5)


def test_the_pads_hold_stops_the_operator_himself_until_a_resume(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    pad.press("hold")
    arm.wait(lambda: status(arm).state == ArmStatus.HELD and status(arm).reason == "operator", "the hold")
    pad.down = set()
    arm.spin(0.2)
    pad.down = {"dead_man"}
    arm.wait(lambda: status(arm).refused == "held", "the refusal")
    assert status(arm).commander == ""
    pad.down = set()
    arm.spin(0.2)
    pad.press("resume")
    arm.wait(lambda: status(arm).state == ArmStatus.READY, "the end of the hold")


def test_a_terminal_is_told_whose_the_arm_is_and_may_home_it_once_he_let_go(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    assert mqe_arm(arm, "status").startswith("arm     moving, by the operator\n")
    pad.down.clear()
    until_held(arm)
    assert mqe_arm(arm, "home").endswith(
        "home, and still the operator's: mqe arm resume gives the arm back to the policy\n"
    )
    assert status(arm).commander == "operator" and mqe_arm(arm, "resume").startswith("resumed")
    arm.wait(lambda: status(arm).commander == "", "the end of his turn")


def mqe_arm(client: Client, question: str) -> str:
    """What `mqe arm …` says. The client goes on listening, and its pad publishing."""
    asking = subprocess.Popen(
        [sys.executable, "-m", "mqe_bringup.operate", question], stdout=subprocess.PIPE, text=True
    )
    client.wait(lambda: asking.poll() is not None, f"the end of {question}")
    out, _ = asking.communicate()
    assert asking.returncode == 0
    return out


def test_speeds_are_changed_by_buttons(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    pad.press("faster")
    pad.motion = np.array([0, 0, 0, 0, 0, 0.5])
    commands(arm).clear()
    arm.wait(lambda: any(command.action[5] for command in commands(arm)), "a turn")
    assert commands(arm)[-1].action[5] == pytest.approx(0.5 * DEVICES.fastest_rad_per_s * PERIOD_S, rel=1e-5)
    pad.motion = np.zeros(6)
    pad.press("slower")


@pytest.mark.parametrize(
    ("deflections", "words"),
    [
        ([float("nan"), 0, 0, 0, 0, 0], "axis 0 is nan"),
        ([0, 1e9, 0, 0, 0, 0], "axis 1 is 1e+09"),
        ([0, 0, 0], "an unknown pad: it has 3 axes"),
    ],
)
def test_absurd_axes_and_unknown_pads_are_named_and_hold_the_arm(
    pad: ScriptedPad, deflections: list[float], words: str
) -> None:
    arm = pad.client
    pad.take()
    pad.motion = np.array([0.3, 0, 0, 0, 0, 0])
    arm.spin(0.5)
    arm.heard["/diagnostics"].clear()
    pad.axes = deflections
    until_held(arm)
    arm.wait(lambda: any(words in said for said in told(arm)), f"{words} in the diagnosis")
    pad.axes = None  # whatever it was, it is over; but the dead-man is still pressed
    commands(arm).clear()
    arm.spin(0.6)
    assert commands(arm) == [] and status(arm).state == ArmStatus.HELD
    pad.down.clear()
    arm.spin(0.2)
    pad.take()
    arm.wait(lambda: status(arm).state == ArmStatus.MOVING, "a motion again")


def told(client: Client) -> list[str]:
    """What the pad's node said in its diagnoses."""
    every = [each for message in client.heard["/diagnostics"] for each in message.status]
    return [each.message for each in every if each.name == "teleop_node: control"]


@pytest.mark.parametrize(
    ("topic", "messages"), [(topics.JOY, hostile_joys), (topics.OPERATOR_COMMAND, commanded)], ids=["joy", "command"]
)
def test_no_message_of_an_operator_ends_a_node(
    topic: topics.Topic, messages: Callable[[], Iterator], homed: Client, running: Supervisor
) -> None:
    publisher = homed.publisher(topic)
    before, made = target(homed), list(messages())
    for message in [*made, *damaged(made[-1])]:
        publisher.publish(message)
        homed.spin(0.03)
    homed.spin(0.5)
    homed.node.destroy_publisher(publisher)
    assert running.ended() is None, running.log_tail("arm_node")
    said = running.log_tail("teleop_node")
    assert "Traceback" not in said and homed.node.count_subscribers("/joy") >= 1, said
    np.testing.assert_allclose(target(homed), before, atol=1e-6)
    homed.call("/arm/resume")


def test_two_pads_move_nothing(pad: ScriptedPad) -> None:
    arm = pad.client
    pad.take()
    other = rclpy.create_node("other_pad")
    other.create_publisher(Joy, topics.JOY.name, topics.JOY.qos)
    try:
        until_held(arm)
        arm.wait(lambda: any("2 publishers of /joy" in said for said in told(arm)), "the warning")
    finally:
        other.destroy_node()


def test_the_diagnosis_tells_pad_session_and_speed(pad: ScriptedPad) -> None:
    arm = pad.client
    arm.heard["/diagnostics"].clear()

    def said():
        every = [each for message in arm.heard["/diagnostics"] for each in message.status]
        return next((each for each in every if each.name == "teleop_node: control"), None)

    found = arm.wait(said, "a diagnosis")
    assert found.message == "the dead-man is not held"
    assert figures(found)["pad"] == "gamepad" and figures(found)["session"].startswith("operator-")
    assert float(figures(found)["speed"]) == 0.5
