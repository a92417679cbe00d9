"""Bridge's rotation convention and delta composition, each against a slow obvious version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqe_core.robot.geometry import (
    TOOL_DOWN,
    action_between,
    apply_action,
    euler_to_rotation,
    make_pose,
    part_way,
    pose_to_state,
    quaternion_to_rotation,
    rotation_angle,
    rotation_to_euler,
    rotation_to_quaternion,
    rotation_vector,
    state_to_pose,
)

angle = st.floats(-3.1, 3.1)
length = st.floats(-0.5, 0.5)
small = st.floats(-0.25, 0.25)


def axis_rotation(axis: int, theta: float) -> np.ndarray:
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = np.cos(theta)
    rotation[i, j], rotation[j, i] = -np.sin(theta), np.sin(theta)
    return rotation


def translation(vector) -> np.ndarray:
    return make_pose(np.eye(3), vector)


@given(angle, angle, angle)
def test_euler_angles_are_roll_then_pitch_then_yaw_about_fixed_axes(roll, pitch, yaw):
    slow = axis_rotation(2, yaw) @ axis_rotation(1, pitch) @ axis_rotation(0, roll)
    np.testing.assert_allclose(euler_to_rotation([roll, pitch, yaw]), slow, atol=1e-12)


@given(angle, st.floats(-1.5, 1.5), angle)
def test_euler_round_trip(roll, pitch, yaw):
    np.testing.assert_allclose(rotation_to_euler(euler_to_rotation([roll, pitch, yaw])), [roll, pitch, yaw], atol=1e-7)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_at_gimbal_lock_the_rotation_survives_though_the_angles_do_not(pitch):
    rotation = euler_to_rotation([0.3, pitch, -0.8])
    np.testing.assert_allclose(euler_to_rotation(rotation_to_euler(rotation)), rotation, atol=1e-8)


def test_a_tool_straight_down_has_state_angles_zero():
    pose = make_pose(TOOL_DOWN, [0.3, 0.0, 0.15])
    np.testing.assert_allclose(pose_to_state(pose, 1.0), [0.3, 0, 0.15, 0, 0, 0, 1.0], atol=1e-12)
    np.testing.assert_allclose(TOOL_DOWN @ [1, 0, 0], [0, 0, -1])  # the tool's axis x points to the floor


@given(length, length, length, angle, st.floats(-1.4, 1.4), angle)
def test_state_round_trip(x, y, z, roll, pitch, yaw):
    state = np.array([x, y, z, roll, pitch, yaw, 0.5])
    np.testing.assert_allclose(pose_to_state(state_to_pose(state), 0.5), state, atol=1e-7)


@settings(max_examples=50)
@given(
    st.lists(small, min_size=6, max_size=6),
    st.lists(length, min_size=6, max_size=6),
    st.lists(length, min_size=3, max_size=3),
)
def test_an_action_is_the_published_matrix_product(action, target_state, measured_position):
    """T' = Trans(p_m) · [R(a), d] · Trans(−p_m) · T, with the rotation about base axes through the measured
    position.
    """
    target = state_to_pose(np.array(target_state))
    measured = translation(measured_position)
    motion = make_pose(euler_to_rotation(np.array(action[3:])), action[:3])
    slow = measured @ motion @ np.linalg.inv(measured) @ target
    np.testing.assert_allclose(apply_action(target, np.array(action), measured), slow, atol=1e-12)


@settings(max_examples=50)
@given(
    st.lists(small, min_size=6, max_size=6),
    st.lists(length, min_size=6, max_size=6),
    st.lists(length, min_size=3, max_size=3),
)
def test_action_between_inverts_apply_action(action, target_state, measured_position):
    target, measured = state_to_pose(np.array(target_state)), translation(measured_position)
    recovered = action_between(target, apply_action(target, np.array(action), measured), measured)
    np.testing.assert_allclose(recovered, action, atol=1e-9)


def test_a_rotation_turns_the_tracking_lag_too():
    """1 cm of lag and 0.2 rad of yaw move the target by 2 mm beyond the commanded translation."""
    target, measured = translation([0.31, 0.0, 0.1]), translation([0.30, 0.0, 0.1])
    moved = apply_action(target, np.array([0, 0, 0, 0, 0, 0.2]), measured)
    assert np.linalg.norm(moved[:3, 3] - target[:3, 3]) == pytest.approx(0.002, abs=1e-4)


@given(angle)
def test_rotation_angle_measures_the_turn(theta):
    assert rotation_angle(np.eye(3), axis_rotation(1, theta)) == pytest.approx(abs(theta), abs=1e-7)


def rodrigues(axis: np.ndarray, angle: float) -> np.ndarray:
    """The textbook formula, as an independent check."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.3, 3.0, np.pi - 1e-9, np.pi])
def test_rotation_vectors_and_quaternions_keep_their_digits_up_to_half_turns(angle):
    rng = np.random.default_rng(0)
    for axis in [*np.eye(3), *rng.normal(size=(20, 3))]:
        axis = axis / np.linalg.norm(axis)
        rotation = rodrigues(axis, angle)
        vector = rotation_vector(rotation)
        assert np.linalg.norm(vector) == pytest.approx(angle, abs=1e-12)
        # At a half turn an axis and its opposite are the same rotation.
        assert (
            min(np.abs(vector - angle * axis).max(), np.abs(vector + angle * axis).max() if angle > 3.1 else 1.0) < 1e-8
        )
        quaternion = rotation_to_quaternion(rotation)
        assert quaternion[3] >= 0 and np.linalg.norm(quaternion) == pytest.approx(1.0)
        np.testing.assert_allclose(quaternion_to_rotation(quaternion), rotation, atol=1e-12)


def test_part_of_the_way_turns_about_one_axis():
    axis = np.array([2.0, -1.0, 2.0]) / 3.0
    start = make_pose(rodrigues(np.array([0.0, 1.0, 0.0]), 1.0), np.array([0.1, 0.2, 0.3]))
    end = make_pose(rodrigues(axis, 0.8) @ start[:3, :3], np.array([0.3, 0.2, 0.1]))
    part = part_way(start, end, 0.5, 0.25)
    np.testing.assert_allclose(part[:3, 3], [0.2, 0.2, 0.2])
    np.testing.assert_allclose(part[:3, :3], rodrigues(axis, 0.2) @ start[:3, :3], atol=1e-12)
    np.testing.assert_allclose(part_way(start, end, 1.0, 1.0), end)
    np.testing.assert_allclose(part_way(start, start, 0.3, 0.3), start)
