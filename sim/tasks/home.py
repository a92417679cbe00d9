"""Where an operator leaves the arm: start of every task and end of all but reach, clear of the table's middle in the image."""

from __future__ import annotations

import numpy as np

from mqe_core.geometry import state_to_pose
from mqe_core.kinematics import inverse_kinematics
from mqe_sim.world import World

HOME_STATE = np.array(
    [0.20, 0.0, 0.20, 0.0, 0.0, 0.0]
)  # Bridge state without the gripper: x, y, z in m, roll, pitch, yaw in rad
HOME_SPREAD_M = 0.02  # the start is so near it, uniform ± per axis


def start_joints(world: World, rng: np.random.Generator) -> np.ndarray:
    """(6,) rad: a start pose near home."""
    state = HOME_STATE.copy()
    state[:3] += rng.uniform(-HOME_SPREAD_M, HOME_SPREAD_M, 3)
    return solve_joints(world, state)


def solve_joints(world: World, state: np.ndarray) -> np.ndarray:
    """(6,) rad for a Bridge state (6,); ValueError where the arm cannot reach it."""
    joints = inverse_kinematics(world.spec, state_to_pose(state), world.spec.neutral_joints)
    if joints is None:
        raise ValueError(f"the arm cannot reach the state {np.round(state, 3).tolist()}")
    return joints
