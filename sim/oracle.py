"""A scripted expert for pick-and-place: sees the true poses, acts in Bridge actions at 5 Hz, noisily enough to cover the space.

It walks through waypoints above, at and away from the cube; a lost grasp sends it back to the start of the script. Noise is of three
kinds: a slowly wandering velocity while moving freely, white noise on every step, and a random height, speed and offset per episode.
The data is therefore a tube around many paths, not one line.

In stated shares of the episodes it also makes a detour or a mistake first: it goes anywhere above the table, or closes the gripper beside
or above the cube. Only what follows is worth imitating, so `record_from` is the step at which the way back begins: the data shows how errors
are corrected, not how they are made.
"""

from __future__ import annotations

import numpy as np

from mqe_core.geometry import pose_to_state
from mqe_core.spec import RobotSpec
from mqe_sim.tasks.place import CUBE_EDGE_M, HOME_STATE, PLATE_HEIGHT_M, PlaceTask

_GRASP_HEIGHT_M = CUBE_EDGE_M / 2
_RELEASE_HEIGHT_M = PLATE_HEIGHT_M + CUBE_EDGE_M / 2 + 0.006  # lets the cube drop a few millimetres instead of pressing it down
_LIFTED_M = 0.015  # the cube's centre this far above its rest height counts as held
_STEP_GAIN = 0.7  # share of the remaining way per step, so that it slows down before a waypoint
_ROTATION_NOISE_RAD = 0.015
_DETOUR_SHARE = 0.3  # of the episodes begin with a way to anywhere above the table
_DETOUR_LOW_M, _DETOUR_HIGH_M = np.array([0.19, -0.11, 0.03]), np.array([0.40, 0.16, 0.20])
_MISSED_GRASP_SHARE = 0.35  # of the episodes have one grasp that misses
_STUCK_STEPS = 15  # no stage takes half as long; a cube wedged askew between the fingers does


class PlaceOracle:
    """One episode's expert; `act` is called once per control step.

    Args:
        spec: the robot.
        task: the scene.
        rng: source of all its noise.
        noise: scale of the noise and of the shares; 0 gives the plain script.
    """

    def __init__(self, spec: RobotSpec, task: PlaceTask, rng: np.random.Generator, noise: float = 1.0) -> None:
        self._spec, self._task, self._rng, self._noise = spec, task, rng, noise
        self._hover_m = rng.uniform(0.09, 0.11)
        self._max_step_m = rng.uniform(0.034, 0.042)
        self._offset_m = noise * rng.normal(0.0, 0.002, 2)
        self._wander = np.zeros(3)
        self._detour_m = rng.uniform(_DETOUR_LOW_M, _DETOUR_HIGH_M)
        self._miss_m = _miss(rng) if rng.random() < noise * _MISSED_GRASP_SHARE else np.zeros(3)
        self._stage = -1 if rng.random() < noise * _DETOUR_SHARE else 0
        self._steps_in_stage, self._steps = 0, 0
        self.record_from = 0
        self.done = False

    def act(self, target_pose: np.ndarray, measured_pose: np.ndarray) -> np.ndarray:
        """Action (7,) for the arm's commanded and measured poses (4, 4); sets `done` after the retreat."""
        world = self._task.world
        cube, plate = world.position(self._task.cube), world.position(self._task.plate)
        position = measured_pose[:3, 3]
        self._advance(position, cube, plate)
        waypoint, gripper, free = self._waypoint(cube, plate)
        delta = _STEP_GAIN * (waypoint - target_pose[:3, 3])
        if free:
            self._wander = 0.7 * self._wander + self._noise * self._rng.normal(0.0, 0.003, 3)
            delta += self._wander
        delta += self._noise * self._rng.normal(0.0, 0.0015, 3)
        longest = np.abs(delta).max()
        if longest > self._max_step_m:
            delta *= self._max_step_m / longest
        rotation = -0.5 * pose_to_state(target_pose, 0.0)[3:6] + self._noise * self._rng.normal(0.0, _ROTATION_NOISE_RAD, 3)
        self._steps_in_stage += 1
        self._steps += 1
        return np.concatenate([delta, rotation, [gripper]])

    def _waypoint(self, cube: np.ndarray, plate: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Where to go (3,), the gripper, and whether the way there is free of contact (so may wander)."""
        over_cube, over_plate = cube[:2] + self._offset_m + self._miss_m[:2], plate[:2]
        grasp_height = _GRASP_HEIGHT_M + self._miss_m[2]
        return {
            -1: (self._detour_m, 1.0, True),
            0: (np.array([*over_cube, self._hover_m]), 1.0, True),
            1: (np.array([*over_cube, grasp_height]), 1.0, False),
            2: (np.array([*over_cube, grasp_height]), 0.0, False),
            3: (np.array([*over_cube, self._hover_m]), 0.0, False),
            4: (np.array([*over_plate, self._hover_m]), 0.0, True),
            5: (np.array([*over_plate, _RELEASE_HEIGHT_M]), 0.0, False),
            6: (np.array([*over_plate, _RELEASE_HEIGHT_M]), 1.0, False),
            7: (np.array([*over_plate, self._hover_m]), 1.0, False),
            8: (HOME_STATE[:3], 1.0, True),
        }[self._stage]

    def _advance(self, position: np.ndarray, cube: np.ndarray, plate: np.ndarray) -> None:
        """Go to the next stage when this one is reached, or back to 0 when the cube was lost on the way."""
        held = cube[2] > CUBE_EDGE_M / 2 + _LIFTED_M
        gripper = self._task.world.arm.gripper()
        near = lambda xy, tolerance: float(np.linalg.norm(position[:2] - xy)) < tolerance  # noqa: E731
        grasp = cube + self._miss_m
        reached = {
            -1: float(np.linalg.norm(position - self._detour_m)) < 0.03,
            0: near(grasp[:2], 0.02) and position[2] < self._hover_m + 0.03,
            1: near(grasp[:2], 0.008) and position[2] < _GRASP_HEIGHT_M + self._miss_m[2] + 0.006,
            2: self._steps_in_stage >= 2 and gripper < 0.85,
            3: position[2] > self._hover_m - 0.025,
            4: near(plate[:2], 0.015),
            5: near(plate[:2], 0.015) and position[2] < _RELEASE_HEIGHT_M + 0.006,
            6: self._steps_in_stage >= 2 and gripper > 0.9,
            7: position[2] > self._hover_m - 0.04,
            8: float(np.linalg.norm(position - HOME_STATE[:3])) < 0.03,
        }[self._stage]
        on_plate = np.linalg.norm(cube[:2] - plate[:2]) < 0.04
        lost = self._stage in (4, 5) and not held and not on_plate
        missed = self._stage == 3 and reached and not held
        stuck = self._steps_in_stage > _STUCK_STEPS
        if lost or missed or stuck:
            self._stage, self._steps_in_stage = 0, 0
            self._miss_m = np.zeros(3)
        elif reached and self._stage == 8:
            self.done = True
        elif reached:
            self._stage, self._steps_in_stage = self._stage + 1, 0
            detour_over = self._stage == 0
            mistake_over = self._stage == 3 and bool(self._miss_m.any())
            if detour_over or mistake_over:
                self.record_from = self._steps


def _miss(rng: np.random.Generator) -> np.ndarray:
    """(3,) metres: where a missing grasp closes, from the right place: beside the cube (clear of it along x) or above it."""
    if rng.random() < 0.5:
        return np.array([rng.choice([-1.0, 1.0]) * rng.uniform(0.030, 0.045), rng.uniform(-0.012, 0.012), rng.uniform(0.0, 0.01)])
    return np.array([*rng.uniform(-0.015, 0.015, 2), rng.uniform(0.022, 0.045)])
