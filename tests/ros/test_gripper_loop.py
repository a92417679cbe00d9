"""Promise: the gripper grips hard, keeps its grip, and never burns its motor."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from hypothesis import given
from hypothesis import strategies as st

from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_ros.gripper_loop import GripperLoop

SPEC = load_robot_spec()
HARDWARE = SPEC.hardware
PERIOD_S = 1.0 / HARDWARE.gripper_loop_hz


@pytest.fixture
def loop(spec: RobotSpec) -> GripperLoop:
    return GripperLoop(spec)


def run(loop: GripperLoop, wanted_m: float, position_m: float, seconds: float, start: float = 0.0) -> list[float]:
    return [loop.pwm(wanted_m, position_m, start + k * PERIOD_S) for k in range(round(seconds / PERIOD_S))]


def test_far_away_it_pushes_with_all_it_may(loop: GripperLoop) -> None:
    assert loop.pwm(0.010, 0.035, 0.0) == -HARDWARE.gripper_max_pwm
    assert loop.pwm(0.035, 0.010, 0.0) == HARDWARE.gripper_max_pwm
    assert abs(loop.pwm(0.020, 0.0205, 0.0)) < HARDWARE.gripper_max_pwm


def test_an_object_between_the_fingers_is_held_with_less_but_held(loop: GripperLoop) -> None:
    forces = run(loop, 0.010, 0.022, 60.0)
    full = [force for force in forces if force == -HARDWARE.gripper_max_pwm]
    assert HARDWARE.gripper_stall_time_s <= len(full) * PERIOD_S <= HARDWARE.gripper_stall_time_s + 2 * PERIOD_S
    assert forces[-1] == -HARDWARE.gripper_hold_pwm


def test_an_object_that_slips_is_gripped_hard_again(loop: GripperLoop) -> None:
    run(loop, 0.010, 0.022, 5.0)
    assert loop.pwm(0.010, 0.020, 5.0) == -HARDWARE.gripper_max_pwm


def test_opening_has_full_force_again(loop: GripperLoop) -> None:
    run(loop, 0.010, 0.022, 5.0)
    assert loop.pwm(0.035, 0.022, 5.0) == HARDWARE.gripper_max_pwm


def test_a_wanted_position_that_fluctuates_is_no_new_grip(loop: GripperLoop) -> None:
    forces = [loop.pwm(0.010 + 0.002 * (k % 2), 0.022, k * PERIOD_S) for k in range(200)]
    assert forces[-1] == -HARDWARE.gripper_hold_pwm


def test_sick_motors_are_only_held(loop: GripperLoop) -> None:
    assert loop.pwm(0.010, 0.035, 0.0, gently=True) == -HARDWARE.gripper_hold_pwm


def test_blind_it_keeps_the_grip_with_the_holding_force(loop: GripperLoop) -> None:
    loop.pwm(0.010, 0.022, 0.0)
    assert loop.pwm(0.010, math.nan, PERIOD_S) == -HARDWARE.gripper_hold_pwm
    assert loop.pwm(0.035, math.nan, 2 * PERIOD_S) == -HARDWARE.gripper_hold_pwm  # not opened blindly either


def test_blind_from_the_start_it_does_nothing(loop: GripperLoop) -> None:
    assert loop.pwm(0.010, math.nan, 0.0) == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0.010, 0.038), st.floats(allow_nan=True, allow_infinity=True)), min_size=1, max_size=60
    )
)
def test_no_reading_whatever_makes_it_push_harder_than_allowed(sequence: list[tuple[float, float]]) -> None:
    loop = GripperLoop(SPEC)
    for k, (wanted, position) in enumerate(sequence):
        assert abs(loop.pwm(wanted, position, k * PERIOD_S)) <= HARDWARE.gripper_max_pwm
