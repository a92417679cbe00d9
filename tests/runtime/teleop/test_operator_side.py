"""Promise: an operator's steps begin where the arm is commanded to be, in Bridge's units, and turn about the hand."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.robot.geometry import apply_action, state_to_pose
from mqe_core.runtime.teleop.devices import load_devices
from mqe_core.runtime.teleop.operator_side import OperatorSide, Speeds, per_period

DEVICES = load_devices()
TARGET, MEASURED = state_to_pose(np.array([0.3, 0.0, 0.15, 0, 0, 0])), state_to_pose(np.array([0.29, 0, 0.15, 0, 0, 0]))


@pytest.fixture
def side(spec, clock) -> OperatorSide:
    return OperatorSide(spec, clock)


def test_no_motion_keeps_the_target_where_the_arm_is_commanded_to_be(side) -> None:
    command, action = side.command(np.zeros(6), TARGET, MEASURED, 0.3)
    np.testing.assert_array_equal(command.pose, TARGET)
    assert command.gripper == 0.3 and action.tolist() == [0, 0, 0, 0, 0, 0, 0.3]


def test_a_turn_pivots_at_the_measured_hand(side) -> None:
    motion = np.array([0, 0, 0, 0, 0, 0.1])
    command, _ = side.command(motion, TARGET, MEASURED, 1.0)
    np.testing.assert_array_equal(command.pose, apply_action(TARGET, motion, MEASURED))
    assert command.pose[1, 3] == pytest.approx(0.01 * np.sin(0.1))  # the lag of 1 cm turns with it


def test_commands_count_up_in_a_session_of_their_own(side, spec, clock) -> None:
    commands = [side.command(np.zeros(6), TARGET, MEASURED, 1.0)[0] for _ in range(3)]
    assert [command.sequence for command in commands] == [1, 2, 3]
    assert {command.session for command in commands} == {side.session} and side.session.startswith("operator-")
    assert OperatorSide(spec, clock).session != side.session
    assert commands[0].frame_id == spec.base_frame


def test_the_gripper_stays_as_commanded_until_it_is_toggled(side) -> None:
    def gripper(commanded: float) -> float:
        return side.command(np.zeros(6), TARGET, MEASURED, commanded)[0].gripper

    side.begin()
    assert gripper(0.4) == 0.4
    side.toggle_gripper(0.4)
    assert gripper(0.4) == 1.0  # nearly closed: it opens
    side.toggle_gripper(0.4)  # the arm has not told the new one yet
    assert gripper(0.4) == 0.0
    side.begin()
    assert gripper(0.7) == 0.7
    side.toggle_gripper(0.7)
    assert gripper(0.7) == 0.0


def test_speeds_go_from_the_middle_to_both_ends_and_stay_there() -> None:
    speeds = Speeds(DEVICES)
    assert speeds.share == 0.5
    speeds.change(1)
    speeds.change(1)
    assert speeds.share == 1.0
    for _ in range(5):
        speeds.change(-1)
    assert speeds.share == 0.25


def test_full_deflection_is_the_highest_speed(spec) -> None:
    step = per_period(np.array([1.0, -1.0, 0, 0, 0, 0.5]), DEVICES, 1.0, spec.control.period_s)
    np.testing.assert_allclose(step, [0.04, -0.04, 0, 0, 0, 0.08])
    np.testing.assert_allclose(per_period(np.ones(6), DEVICES, 0.25, 0.2)[:3], 0.01)
