"""reach: move the open hand to where the goal image shows it, over a table on which nothing needs to be moved."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.kinematics import forward_kinematics
from mqe_sim.objects import CUBE
from mqe_sim.tasks.home import HOME_STATE, solve_joints, start_joints
from mqe_sim.tasks.place import YAW_RAD
from mqe_sim.world import World

REACHED_M = 0.03  # the hand's distance from the goal's, at rest
_LOW_M, _HIGH_M = np.array([0.22, -0.08, 0.08]), np.array([0.35, 0.13, 0.18])  # in view, above what lies on the table
_CUBE_LOW_M, _CUBE_HIGH_M = [0.22, -0.08], [0.37, 0.13]
_AWAY_M = 0.06  # goals at least so far from the start


class ReachTask:
    """The scene of one seed; `goal_m` (3,) is where the hand should be. The task is a single stage."""

    name, language = "reach", "move the hand"
    max_steps, max_score = 40, 1.0

    def __init__(self, world: World, seed: int, stage: int | None = None) -> None:
        self.world, self.seed = world, seed
        rng = np.random.default_rng(seed)
        world.reset()
        self.cube = CUBE.add(world, rng.uniform(_CUBE_LOW_M, _CUBE_HIGH_M), float(rng.uniform(-YAW_RAD, YAW_RAD)))
        self.goal_m = rng.uniform(_LOW_M, _HIGH_M)
        while np.linalg.norm(self.goal_m - HOME_STATE[:3]) < _AWAY_M:
            self.goal_m = rng.uniform(_LOW_M, _HIGH_M)
        self.start_joints = start_joints(world, rng)
        world.arm.reset(self.start_joints, 1.0)
        self.settle()

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""
        self.world.arm.reset(solve_joints(self.world, np.concatenate([self.goal_m, HOME_STATE[3:]])), 1.0)
        self.settle()

    def score(self) -> float:
        """Score at this instant; let the world settle first (`settle`)."""
        hand = forward_kinematics(self.world.spec, self.world.arm.joints())[:3, 3]
        return float(np.linalg.norm(hand - self.goal_m) < REACHED_M and self.world.arm.is_still())

    def stages(self) -> tuple[bool, ...]:
        """Whether the hand is there."""
        return (bool(self.score()),)

    def open_stages(self) -> tuple[int, ...]:
        """The only one, until the hand is there."""
        return () if self.stages()[0] else (0,)

    def only(self, stage: int) -> ReachTask:
        """The task is a single stage."""
        return self

    def things_m(self) -> Floats:
        """(3,): position of the cube."""
        return self.world.position(self.cube)

    def settle(self) -> None:
        """Let everything come to rest before judging; the arm keeps its last target."""
        self.world.settle([self.cube])
        self.world.settle_arm()
