"""Where an operator leaves the arm: the start of every task, and the end of all but reach.

There it does not hide the table's middle from the camera.
"""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import state_to_pose
from mqe_core.robot.kinematics import inverse_kinematics
from mqe_sim.world import World

HOME_STATE = np.array([0.20, 0.0, 0.20, 0.0, 0.0, 0.0])  # x, y, z in m, roll, pitch, yaw in rad
HOME_SPREAD_M = 0.02  # starts lie around it, uniform ± per axis


def start_joints(world: World, rng: np.random.Generator) -> Floats:
    """(6,) rad: a start pose near home."""
    state = HOME_STATE.copy()
    state[:3] += rng.uniform(-HOME_SPREAD_M, HOME_SPREAD_M, 3)
    return solve_joints(world, state)


def solve_joints(world: World, state: Floats) -> Floats:
    """(6,) rad for a Bridge state (6,); ValueError where the arm cannot reach it."""
    joints = inverse_kinematics(world.spec, state_to_pose(state), world.spec.neutral_rad)
    if joints is None:
        raise ValueError(f"the arm cannot reach the state {np.round(state, 3).tolist()}")
    return joints
