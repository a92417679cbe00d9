"""Promise: the hardware backend speaks the driver's topics and services, believes none of its lies, and never
lets the arm fall.

Against a fake driver in a process of its own (fake_xs_sdk.py), its motors arithmetic.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

import rclpy
from sensor_msgs.msg import JointState

from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.safety_rules import JOINT_STATE, MOTORS, STALE_STATE
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command, MonotonicClock, Robot
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_ros.widowx_robot import WidowXRobot

PATIENCE_S = 30.0


@pytest.fixture
def arm(ros: None, driver, spec: RobotSpec) -> Iterator[SafeRobot]:
    clock = MonotonicClock()
    robot = SafeRobot(WidowXRobot(spec, clock=clock), spec, clock)
    yield robot
    robot.close()


@pytest.fixture
def step(arm: SafeRobot, spec: RobotSpec) -> Callable[..., Command]:
    """One control period later, a command that moves the target by some metres."""
    sequence = iter(range(1, 1000))
    pose = arm.observe().target_pose

    def send(move=(0.0, 0.0, 0.0), gripper: float = 1.0) -> Command:
        time.sleep(spec.control.period_s)
        wanted = pose.copy()
        wanted[:3, 3] += move
        sent = arm.send(Command(wanted, gripper, time.monotonic(), "test", next(sequence), spec.base_frame))
        if sent.refused is None:
            pose[:] = wanted
        return sent

    return send


def until(done: Callable[[], object], what: str) -> object:
    end = time.monotonic() + PATIENCE_S
    while not (value := done()):
        assert time.monotonic() < end, f"{what} did not happen within {PATIENCE_S} s"
        time.sleep(0.02)
    return value


def until_fault(arm: SafeRobot, rule: str, words: str = "") -> None:
    """Wait for one fault among others: on a machine that is busy joints may arrive late as well, which comes and
    goes.
    """

    def seen() -> bool:
        fault = arm.inspect()[1]
        return fault is not None and fault[0] == rule and words in fault[1]

    until(seen, f"the fault {rule!r} {words!r}")


def until_taken(step: Callable[..., Command]) -> None:
    """A step that moves the arm; late joints alone are a reason to try again."""

    def taken() -> bool:
        refused = step((0.0, 0.0, 0.02)).refused
        assert refused in (None, STALE_STATE)
        return refused is None

    until(taken, "a step")


def test_it_finds_the_arm_where_it_is(arm: SafeRobot, spec: RobotSpec) -> None:
    state = arm.observe()
    assert isinstance(arm, Robot) and state.health.ok and arm.inspect()[1] is None
    np.testing.assert_allclose(state.joints, spec.sleep_rad, atol=1e-6)
    np.testing.assert_allclose(state.target_pose, forward_kinematics(spec, spec.sleep_rad), atol=1e-6)
    np.testing.assert_array_equal(state.health.temperatures_c, [35] * 6)


def test_the_profile_is_set_once_and_no_mode_is_ever_changed(step, arm: SafeRobot, driver) -> None:
    for _ in range(3):
        step((0.0, 0.0, 0.03))
    assert [values for _, values in driver.commands("Profile_Acceleration")] == [[100]]
    assert [values for _, values in driver.commands("Profile_Velocity")] == [[250]]
    assert driver.commands("Profile_Acceleration")[0] < driver.commands("Profile_Velocity")[0]
    for dangerous in ("torque_enable", "set_operating_modes", "reboot_motors", "trajectory"):
        assert driver.commands(dangerous) == []


def test_a_step_reaches_the_motors_and_they_reach_it(step, arm: SafeRobot, driver) -> None:
    sent = step((0.0, 0.0, 0.04))
    assert sent.refused is None
    until(lambda: driver.commands("group"), "a command at the driver")
    np.testing.assert_allclose(driver.commands("group")[-1][1], sent.joints, atol=1e-6)
    until(lambda: np.abs(arm.observe().joints - sent.joints).max() < 1e-3, "the arm at its target")


def test_the_gripper_closes_and_opens_by_a_bounded_force(step, arm: SafeRobot, driver, spec: RobotSpec) -> None:
    for wanted in (1.0, 0.0, 1.0):
        step(gripper=wanted)
        until(lambda wanted=wanted: abs(arm.observe().gripper - wanted) < 0.1, f"the gripper at {wanted}")
    forces = np.array([values[0] for _, values in driver.commands("gripper")])
    assert forces.min() < -100 and forces.max() > 100
    assert np.abs(forces).max() <= spec.hardware.gripper_max_pwm


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("dead_bus", JOINT_STATE),
        ("nan", JOINT_STATE),
        ("far", JOINT_STATE),
        ("twice", JOINT_STATE),
        ("huge", JOINT_STATE),
        ("silent", STALE_STATE),
        ("hot", MOTORS),
        ("error", MOTORS),
        ("limp", MOTORS),
    ],
)
def test_whatever_the_driver_says_a_sick_arm_is_not_driven(
    name: str, rule: str, step, arm: SafeRobot, driver, fault
) -> None:
    until_taken(step)
    fault(name)
    until(lambda: driver.commands("fault"), "the fault at the driver")  # till then late joints are none of it
    until_fault(arm, rule)
    before = len(driver.commands("group"))
    refused = step((0.0, 0.0, 0.02))
    assert refused.refused in (rule, STALE_STATE) and refused.detail
    assert len(driver.commands("group")) == before
    fault("ok")
    until(lambda: arm.inspect()[1] is None, "the recovery")
    assert not arm.resume()  # it stayed at its target
    until_taken(step)


def test_joint_states_that_are_none_of_an_arm_are_a_fault_that_says_why(arm: SafeRobot, fault) -> None:
    """One after the other, without waiting for a recovery."""
    for name, words in (
        ("inf", "the motor bus does not answer"),
        ("short", "9 names and 3 positions"),
        ("others", "the motor bus does not answer"),
        ("far", "no joint turns so far"),
        ("empty", "the motor bus does not answer"),
        ("twice", "'waist' more than once; who publishes them?"),
        ("huge", "at most 16384 are"),
    ):
        fault(name)
        until_fault(arm, JOINT_STATE, words)
    fault("past")
    until(lambda: arm.inspect()[1] is None, "the recovery")


def test_a_driver_that_was_restarted_has_lost_the_profile_and_is_not_driven(
    step, arm: SafeRobot, driver, fault
) -> None:
    until_taken(step)
    fault("restarted")
    until_fault(arm, MOTORS, "start this node again")
    assert step((0.0, 0.0, 0.02)).refused in (MOTORS, STALE_STATE)


def test_until_the_first_command_only_the_profile_is_written(arm: SafeRobot, driver) -> None:
    time.sleep(0.5)
    assert driver.commands("group") == driver.commands("gripper") == []


def test_an_arm_that_is_only_observed_is_written_nothing(ros: None, driver, spec: RobotSpec) -> None:
    clock = MonotonicClock()
    robot = WidowXRobot(spec, clock=clock, drive=False)
    state = robot.observe()
    time.sleep(0.5)
    with pytest.raises(ValueError, match="observed only"):
        robot.send(Command(state.pose, 1.0, clock.now(), "s", 1, spec.base_frame, joints=state.joints))
    robot.close()
    for what in ("group", "gripper", "Profile_Velocity", "Profile_Acceleration"):
        assert driver.commands(what) == []


def test_a_driver_that_hangs_is_noticed_and_comes_back(step, arm: SafeRobot, driver) -> None:
    step((0.0, 0.0, 0.02))
    os.kill(driver.process.pid, signal.SIGSTOP)
    try:
        until(lambda: arm.inspect()[1], "the fault")
        assert step((0.0, 0.0, 0.02)).refused in (STALE_STATE, MOTORS)
    finally:
        os.kill(driver.process.pid, signal.SIGCONT)
    until(lambda: arm.inspect()[1] is None, "the recovery")


def test_without_a_driver_it_says_how_to_start_one(ros: None, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")
    monkeypatch.setattr("mqe_ros.xs_driver._STARTUP_S", 0.5)
    with pytest.raises(RuntimeError, match="xsarm_control.launch.py robot_model:=wx250s"):
        WidowXRobot(spec, clock=MonotonicClock())


def test_another_publisher_of_joint_states_is_a_fault_that_names_it(arm: SafeRobot, step, ros: None) -> None:
    assert step((0.01, 0.0, 0.0)).refused is None
    other = rclpy.create_node("joint_state_publisher")
    other.create_publisher(JointState, f"/{arm.spec.hardware.driver_name}/joint_states", 10)
    until_fault(arm, JOINT_STATE, "2 publishers of /wx250s/joint_states: /joint_state_publisher, /wx250s/xs_sdk; stop")
    assert step((0.01, 0.0, 0.0)).refused == JOINT_STATE
    other.destroy_node()
    until(lambda: arm.inspect()[1] is None, "the end of the fault")
