"""drawer_open, drawer_close and drawer_place: a cabinet with a sliding drawer, and a cube on the table.

In drawer_place the drawer is closed and the goal image shows it open with the cube inside: one point for each. All
three look alike at the start but for the drawer, so that what to do can only be read from the goal.
"""

from __future__ import annotations

import copy

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.cabinet import FLOOR_M, TRAVEL_M, Cabinet
from mqe_sim.objects import CUBE
from mqe_sim.tasks.home import HOME_STATE, solve_joints, start_joints
from mqe_sim.tasks.place import YAW_RAD
from mqe_sim.world import World

OPEN_M, CLOSED_M = 0.07, 0.015  # counts as open from here, as closed up to here
WANTED_OPEN_M = 0.09  # what the goal image shows, short of the stop
_CABINET_X_M = (0.25, 0.31)
_CUBE_LOW_M, _CUBE_HIGH_M = [0.21, -0.12], [0.36, -0.05]  # clear of the open drawer's bar and of the fingers around it
_START_OPEN_M = {
    "drawer_open": (0.0, 0.01),
    "drawer_close": (OPEN_M, TRAVEL_M),
    "drawer_place": (0.0, 0.01),
    "cube": (OPEN_M, TRAVEL_M),
}
_INSIDE_SHARE = 0.5  # of the scenes in which the drawer alone is moved begin with the cube inside
_LANGUAGE = {
    "drawer_open": "open the drawer",
    "drawer_close": "close the drawer",
    "drawer_place": "open the drawer and put the cube into it",
    "cube": "put the cube into the drawer",
}


class DrawerTask:
    """The scene of one seed. `wants_open` and `wants_inside` say what the goal shows, `wants_drawer` whether the
    drawer matters at all.

    The stages of drawer_place are to open the drawer (0) and to put the cube into the open one (1), in the same scene.
    The other two tasks have a single stage. Where it is asked for, half of their scenes begin with the cube inside.
    """

    def __init__(self, world: World, seed: int, name: str, stage: int | None = None) -> None:
        self.world, self.seed, self.name = world, seed, name
        part = {0: "drawer_open", 1: "cube"}[stage] if stage is not None and name == "drawer_place" else name
        self.language = _LANGUAGE[part]
        self.wants_open, self.wants_inside = name != "drawer_close", part in ("drawer_place", "cube")
        self.max_steps = 120 if self.wants_inside else 70
        self.wants_only_inside = part == "cube"
        self.wants_drawer = True
        self.max_score = 2.0 if part == "drawer_place" else 1.0
        rng = np.random.default_rng(seed)
        world.reset()
        self.cabinet = Cabinet(world, float(rng.uniform(*_CABINET_X_M)), float(rng.uniform(*_START_OPEN_M[part])))
        self.cube = CUBE.add(world, rng.uniform(_CUBE_LOW_M, _CUBE_HIGH_M), float(rng.uniform(-YAW_RAD, YAW_RAD)))
        self.start_joints = start_joints(world, rng if not stage else np.random.default_rng([seed, 1 + stage]))
        if stage is not None and name != "drawer_place" and rng.random() < _INSIDE_SHARE:
            self.put_inside()
        world.arm.reset(self.start_joints, 1.0)
        self.settle()

    def put_inside(self) -> None:
        """Lay the cube into the drawer, open or closed. For building scenes only."""
        x, y, _ = self.cabinet.inside_m
        self.world.place_body(self.cube, [x, y, FLOOR_M + CUBE.height_m / 2 + 0.001])

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""
        self.world.arm.reset(solve_joints(self.world, HOME_STATE), 1.0)
        if not self._drawer_done():
            self.cabinet.set_open(WANTED_OPEN_M if self.wants_open else 0.0)
        if self.wants_inside:
            self.put_inside()
        self.settle()

    def score(self) -> float:
        """Score at this instant; let the world settle first (`settle`)."""
        if self.world.arm.touches(self.cabinet.body):
            return 0.0
        drawer, inside = self._drawer_done(), self.stages()[1]
        if self.wants_only_inside:
            return float(inside)
        return float(drawer) + float(inside) if self.wants_inside else float(drawer)

    def stages(self) -> tuple[bool, ...]:
        """Whether the drawer is open (in drawer_close: not closed), and whether the cube rests in it, let go of."""
        is_open = self._drawer_done() if self.wants_open else not self._drawer_done()
        inside = self.cabinet.contains(self.world.position(self.cube)) and self.world.at_rest(self.cube)
        return is_open, inside and self.world.arm.finger_contacts(self.cube) == 0

    def open_stages(self) -> tuple[int, ...]:
        """The drawer (0), unless it is as wanted, and the cube (1), unless it is in the drawer."""
        return ((0,) if not self._drawer_done() else ()) + ((1,) if not self.stages()[1] else ())

    def only(self, stage: int) -> DrawerTask:
        """This scene, for a script that wants the drawer alone (0), or the cube alone, whatever the drawer is like."""
        task = copy.copy(self)
        task.wants_drawer, task.wants_inside = stage == 0, stage == 1
        return task

    def _drawer_done(self) -> bool:
        return self.cabinet.open_m >= OPEN_M if self.wants_open else self.cabinet.open_m <= CLOSED_M

    def things_m(self) -> Floats:
        """(6,): positions of the cube and of the drawer's bar."""
        return np.concatenate([self.world.position(self.cube), self.cabinet.bar_m])

    def settle(self) -> None:
        """Let everything come to rest before judging; the arm keeps its last target."""
        self.world.settle([self.cube])
