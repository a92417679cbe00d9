"""Script for reach: straight to the goal."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.reach import REACHED_M, ReachTask


def plan(task: ReachTask, hand: Floats, opening: float) -> Plan:
    """Next step of the script."""
    there = float(np.linalg.norm(hand - task.goal_m)) < 0.5 * REACHED_M
    return Plan(task.goal_m, 1.0, free=True, finished=there)
