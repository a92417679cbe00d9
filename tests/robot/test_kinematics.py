"""Forward and inverse kinematics: published golden poses, numeric derivatives, and a thousand random targets."""

from __future__ import annotations

import time

import numpy as np
import pytest

from mqe_core.robot.geometry import pose_to_state, rotation_angle, state_to_pose
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics, jacobian
from mqe_core.robot.spec import load_robot_spec

SPEC = load_robot_spec()

# Poses of the WidowX250s in Bridge's state convention, computed from Interbotix's screw axes and, independently, from
# its URDF chain.
GOLDEN = {
    "zeros": (np.zeros(6), [0.4583, 0, 0.3607], [0, -1.5708, 0]),
    "sleep": (np.array([0, -1.8, 1.55, 0, 0.8, 0]), [0.1227, 0, 0.0813], [0, -1.0208, 0]),
    "neutral": (SPEC.neutral_rad, [0.1202, -0.0191, 0.2467], [-0.0399, -0.1272, 0.0252]),
    "simpler_start": (
        np.array([-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398]),
        [0.2921, -0.0061, 0.1353],
        [-0.0045, 0.0568, -0.0190],
    ),
    "simpler_sink": (
        np.array([-0.2600599, -0.12875618, 0.04461369, -0.00652761, 1.7033415, -0.26983038]),
        [0.2497, -0.0675, 0.2276],
        [0.0066, 0.0484, 0.0092],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_forward_kinematics_reproduces_the_golden_poses(name):
    joints, position, rpy = GOLDEN[name]
    pose = forward_kinematics(SPEC, joints)
    np.testing.assert_allclose(pose[:3, 3], position, atol=1e-4)
    # Rotations, not angles: at joints zero the convention is in gimbal lock.
    assert rotation_angle(pose[:3, :3], state_to_pose([*position, *rpy])[:3, :3]) < 2e-4


@pytest.mark.parametrize(
    ("xyz", "joints"),
    [
        ((0.3, 0, 0.15), [0, 0.02201, 0.18310, 0, 1.36568, 0]),
        ((0.2, 0.1, 0.1), [0.4636, -0.2057, 0.6478, 0, 1.1287, 0.4636]),
    ],
)
def test_inverse_kinematics_reproduces_the_golden_joints(xyz, joints):
    solved = inverse_kinematics(SPEC, state_to_pose([*xyz, 0, 0, 0]), SPEC.neutral_rad)
    np.testing.assert_allclose(solved, joints, atol=1e-4)


def test_the_jacobian_is_the_derivative_of_forward_kinematics():
    rng = np.random.default_rng(0)
    step = 1e-6
    for _ in range(20):
        joints = rng.uniform(SPEC.joint_lower, SPEC.joint_upper)
        base = forward_kinematics(SPEC, joints)
        numeric = np.zeros((6, 6))
        for i in range(6):
            moved = forward_kinematics(SPEC, joints + step * np.eye(6)[i])
            spin = (moved[:3, :3] - base[:3, :3]) @ base[:3, :3].T / step
            numeric[:, i] = [*(moved[:3, 3] - base[:3, 3]) / step, spin[2, 1], spin[0, 2], spin[1, 0]]
        np.testing.assert_allclose(jacobian(SPEC, joints), numeric, atol=1e-5)


@pytest.mark.parametrize("seeds", ["near", "far"])
def test_a_thousand_random_targets_are_reached(seeds):
    rng = np.random.default_rng(1)
    solved, seconds = 0, []
    for _ in range(1000):
        joints = rng.uniform(SPEC.joint_lower, SPEC.joint_upper)
        target = forward_kinematics(SPEC, joints)
        seed = joints + rng.normal(0, 0.05, 6) if seeds == "near" else rng.uniform(SPEC.joint_lower, SPEC.joint_upper)
        start = time.perf_counter()
        found = inverse_kinematics(SPEC, target, seed)
        seconds.append(time.perf_counter() - start)
        if found is None:
            continue
        reached = forward_kinematics(SPEC, found)
        assert ((found >= SPEC.joint_lower) & (found <= SPEC.joint_upper)).all()
        solved += bool(
            np.linalg.norm(reached[:3, 3] - target[:3, 3]) < 1e-3
            and rotation_angle(reached[:3, :3], target[:3, :3]) < 1e-3
        )
    assert solved >= 995
    # 0.3 ms on a 2.6 GHz core; the bound is the promise, the margin is for machines that do other work beside the
    # tests.
    assert np.median(seconds) < 1e-3


def test_a_near_seed_keeps_its_branch():
    """Small target motions must not flip the elbow or the wrist."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        joints = rng.uniform([-1.5, -0.8, -0.8, -1.0, 0.4, -1.0], [1.5, 0.8, 0.8, 1.0, 1.6, 1.0])
        seed = joints + rng.normal(0, 0.02, 6)
        found = inverse_kinematics(SPEC, forward_kinematics(SPEC, joints), seed)
        np.testing.assert_allclose(found, joints, atol=1e-6)


def test_a_joint_a_hair_beyond_its_stop_keeps_the_branch_of_the_seed():
    """No branch is within the limits, and the one with the wrist turned over is as near them."""
    joints = np.array([0.7, -0.4, SPEC.joint_upper[2] + 3e-4, 3.0, 0.9, 0.9])
    seed = np.clip(joints, SPEC.joint_lower, SPEC.joint_upper)
    found = inverse_kinematics(SPEC, forward_kinematics(SPEC, joints), seed)
    np.testing.assert_allclose(found, seed, atol=0.01)


@pytest.mark.parametrize("state", [[0.9, 0, 0.1, 0, 0, 0], [0.3, 0, 0.9, 0, 0, 0], [0.05, 0, -0.4, 0, 0, 0]])
def test_an_unreachable_target_has_no_solution(state):
    assert inverse_kinematics(SPEC, state_to_pose(state), SPEC.neutral_rad) is None


@pytest.mark.parametrize("wrist_angle", [0.0, 1e-9, 1e-4])
def test_a_straight_wrist_keeps_the_roll_of_the_seed(wrist_angle):
    joints = np.array([0.2, 0.3, 0.2, 0.7, wrist_angle, -0.4])
    found = inverse_kinematics(SPEC, forward_kinematics(SPEC, joints), joints)
    np.testing.assert_allclose(found, joints, atol=1e-3)


def test_a_pose_a_hair_beyond_full_stretch_is_still_reached():
    joints = np.array([0.0, 0.4, np.arctan2(0.04975, 0.25) - np.pi / 2 + 1e-3, 0.0, 0.3, 0.0])  # elbow nearly straight
    target = forward_kinematics(SPEC, joints)
    target[:3, 3] *= 1.0002
    found = inverse_kinematics(SPEC, target, joints)
    assert found is not None
    assert np.linalg.norm(forward_kinematics(SPEC, found)[:3, 3] - target[:3, 3]) < 1e-3


def test_the_pose_of_a_bridge_state_survives_the_round_trip():
    state = np.array([0.3, 0.05, 0.1, 0.05, -0.1, 0.3])
    joints = inverse_kinematics(SPEC, state_to_pose(state), SPEC.neutral_rad)
    np.testing.assert_allclose(pose_to_state(forward_kinematics(SPEC, joints), 1.0)[:6], state, atol=1e-9)
