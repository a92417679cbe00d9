"""A task of one's own, and the script that demonstrates it: bring the open hand over the red cube, wherever it lies."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.kinematics import forward_kinematics
from mqe_sim.objects import CUBE
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.home import HOME_STATE, solve_joints, start_joints
from mqe_sim.world import World

ABOVE_M = 0.10  # of the hand over the cube's middle
NEAR_M = 0.025
LOW_M, HIGH_M = [0.22, -0.08], [0.37, 0.13]  # where the cube may lie, x and y


class HoverTask:
    """The scene of one seed; see `mqe_sim.tasks.Task`. It has one stage."""

    name, language = "hover", "point at the red cube"
    max_steps, max_score = 40, 1.0  # control steps; success is the full score

    def __init__(self, world: World, seed: int, stage: int | None = None) -> None:
        """Build the start scene. All that is random comes from the seed."""
        self.world, self.seed = world, seed
        rng = np.random.default_rng(seed)
        world.reset()
        self.cube = CUBE.add(world, rng.uniform(LOW_M, HIGH_M), float(rng.uniform(-0.2, 0.2)))
        self.start_joints = start_joints(world, rng)
        world.arm.reset(self.start_joints, 1.0)
        self.settle()

    def goal_m(self) -> Floats:
        """(3,) where the hand should be."""
        return self.world.position(self.cube) + [0.0, 0.0, ABOVE_M]

    def solve(self) -> None:
        """Turn the start scene into the solved one, which the goal image shows."""
        self.world.arm.reset(solve_joints(self.world, np.concatenate([self.goal_m(), HOME_STATE[3:]])), 1.0)
        self.settle()

    def score(self) -> float:
        """0 to `max_score`, judged at this instant."""
        hand = forward_kinematics(self.world.spec, self.world.arm.joints())[:3, 3]
        return float(np.linalg.norm(hand - self.goal_m()) < NEAR_M and self.world.arm.is_still())

    def stages(self) -> tuple[bool, ...]:
        return (bool(self.score()),)

    def open_stages(self) -> tuple[int, ...]:
        return () if self.stages()[0] else (0,)

    def only(self, stage: int) -> HoverTask:
        return self  # there is one stage, so one script

    def things_m(self) -> Floats:
        return self.world.position(self.cube)

    def settle(self) -> None:
        """Let everything come to rest; the arm keeps its last target."""
        self.world.settle([self.cube])
        self.world.settle_arm()


def plan(task: HoverTask, hand: Floats, opening: float) -> Plan:
    """The script: the next point for the hand (3,) in metres. It sees the true poses; a policy sees images only."""
    goal = task.goal_m()
    return Plan(goal, 1.0, free=True, finished=bool(np.linalg.norm(hand - goal) < 0.5 * NEAR_M))
