"""place1 ... place4: as many objects as the name says, each onto its own target.

The start pose of the arm, the objects and the targets are drawn from the seed. The goal image shows the same scene
solved: every object on its target, the arm back where an operator would leave it, gripper open.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.objects import PAIRS
from mqe_sim.tasks.home import HOME_STATE, solve_joints, start_joints
from mqe_sim.world import World

YAW_RAD = 0.2  # uniform ±; the closing fingers square an object up
HEIGHT_TOLERANCE_M = 0.005  # an object at rest this near its height stands or lies, leaning on nothing
_TRIES = 50  # to drop one more thing before starting again
_STEPS_PER_OBJECT = 70  # control steps; the oracle needs about 30
# Where things may lie (x and y, in view of the camera and in reach with the tool down), and how much room is between
# them at least, beyond what the open gripper needs. With more to lay out the region goes to the edge of the view.
_REGION_M = {
    1: ([0.22, -0.08], [0.37, 0.13], 0.015),
    2: ([0.20, -0.12], [0.37, 0.17], 0.015),
    3: ([0.20, -0.12], [0.37, 0.17], 0.005),
    4: ([0.20, -0.12], [0.37, 0.17], 0.000),
}


class PlaceTask:
    """The scene of one seed. `score()` counts the wanted objects that rest on their targets, let go of.

    `objects` and `targets` are body ids in the order of `mqe_sim.objects.PAIRS`. `wanted` are the indices of those to
    be moved: all, or with `stage` this one alone. Then those in `done` stand on their targets already, by default all
    before it: always one order, as people have habits. All stages of a seed belong to one scene.
    """

    def __init__(
        self, world: World, seed: int, count: int = 1, stage: int | None = None, done: Sequence[int] | None = None
    ) -> None:
        self.world, self.seed, self.pairs = world, seed, PAIRS[:count]
        rng = np.random.default_rng(seed)
        world.reset()
        low_m, high_m, spare_m = _REGION_M[count]
        radii_m = [radius for kind, target in self.pairs for radius in (kind.room_m, target.room_m)]
        places = scattered(rng, np.array(radii_m) + spare_m / 2, low_m, high_m)
        self.targets = [target.add(world, xy) for (_, target), xy in zip(self.pairs, places[1::2])]
        self.objects = [
            kind.add(world, xy, float(rng.uniform(-YAW_RAD, YAW_RAD))) for (kind, _), xy in zip(self.pairs, places[::2])
        ]
        self.start_joints = start_joints(world, rng)
        self.wanted = list(range(count))
        if stage is not None:
            self.wanted = [stage]
            for index in range(stage) if done is None else done:
                self.put_on_target(index)
            self.start_joints = start_joints(world, np.random.default_rng([seed, 1 + stage]))
        self.name = f"place{count}"
        self.max_steps, self.max_score = _STEPS_PER_OBJECT * len(self.wanted), float(len(self.wanted))
        self.language = " and ".join(
            f"put the {self.pairs[i][0].name} on the {self.pairs[i][1].name}" for i in self.wanted
        )
        world.arm.reset(self.start_joints, 1.0)
        self.settle()

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""
        self.world.arm.reset(solve_joints(self.world, HOME_STATE), 1.0)
        for index in self.wanted:
            self.put_on_target(index)
        self.settle()

    def put_on_target(self, index: int) -> None:
        """Stand one object on its target. For building scenes only."""
        kind, target = self.pairs[index]
        x, y, _ = self.world.position(self.targets[index])
        self.world.place_body(self.objects[index], [x, y, target.support_m + kind.height_m / 2 + 0.001])

    def placed(self, index: int) -> bool:
        """Whether one object rests on its target and the fingers have let go."""
        kind, target = self.pairs[index]
        body = self.objects[index]
        position, place = self.world.position(body), self.world.position(self.targets[index])
        low, high = target.support_m + kind.flattest_m / 2, target.support_m + kind.height_m / 2
        return bool(
            np.linalg.norm(position[:2] - place[:2]) < target.centred_m
            and low - HEIGHT_TOLERANCE_M < position[2] < high + HEIGHT_TOLERANCE_M
            and self.world.arm.finger_contacts(body) == 0
            and self.world.at_rest(body)
        )

    def score(self) -> float:
        """Score at this instant; let the world settle first (`settle`)."""
        return float(sum(self.placed(index) for index in self.wanted))

    def stages(self) -> tuple[bool, ...]:
        """For every object, wanted or not, whether it is on its target."""
        return tuple(self.placed(index) for index in range(len(self.pairs)))

    def open_stages(self) -> tuple[int, ...]:
        """The objects that are not on their targets."""
        return tuple(index for index, done in enumerate(self.stages()) if not done)

    def only(self, stage: int) -> PlaceTask:
        """This scene, for a script that wants object `stage` alone."""
        task = copy.copy(self)
        task.wanted = [stage]
        return task

    def things_m(self) -> Floats:
        """(6 · count,): positions of the objects, then of the targets."""
        return np.concatenate([self.world.position(body) for body in [*self.objects, *self.targets]])

    def settle(self) -> None:
        """Let the objects come to rest before judging; the arm keeps its last target."""
        standing = [body for (_, target), body in zip(self.pairs, self.targets) if not target.painted]
        self.world.settle([*self.objects, *standing])


def scattered(rng: np.random.Generator, radii_m: Floats, low_m: Sequence[float], high_m: Sequence[float]) -> Floats:
    """(n, 2) metres in a box: centres of discs of `radii_m` (n,) that do not overlap, dropped one after the other.

    Where one finds no room, all are dropped anew.
    """
    points: Floats = np.empty((0, 2))
    tries = 0
    while len(points) < len(radii_m):
        point = rng.uniform(low_m, high_m)
        if (np.linalg.norm(points - point, axis=1) >= radii_m[: len(points)] + radii_m[len(points)]).all():
            points, tries = np.vstack([points, point]), 0
        elif (tries := tries + 1) > _TRIES:
            points, tries = np.empty((0, 2)), 0
    return points
