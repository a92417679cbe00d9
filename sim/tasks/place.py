"""place1: one cube on the table goes onto the plate.

The start pose of the arm, the cube and the plate are drawn from the seed. The goal image shows the same scene solved: the cube on the
plate, the arm back where an operator would leave it, gripper open.
"""

from __future__ import annotations

import numpy as np

from mqe_core.geometry import state_to_pose
from mqe_core.kinematics import inverse_kinematics
from mqe_sim.world import World

CUBE_EDGE_M = 0.036  # between the fingers' 50 mm opening and what 64 pixels still show
CUBE_MASS_KG = 0.05
PLATE_RADIUS_M, PLATE_HEIGHT_M, PLATE_MASS_KG = 0.05, 0.008, 0.3
CUBE_RGBA, PLATE_RGBA = (0.85, 0.12, 0.10, 1.0), (0.15, 0.35, 0.80, 1.0)
REGION_LOW_M, REGION_HIGH_M = np.array([0.22, -0.08]), np.array([0.37, 0.13])  # in view of the camera, in reach with the tool down
CLEARANCE_M = 0.10  # between the centres of cube and plate: apart by more than the open gripper
CUBE_YAW_RAD = 0.2  # uniform ±; the closing fingers square the cube up
HOME_STATE = np.array([0.20, 0.0, 0.20, 0.0, 0.0, 0.0])  # start and retreat; keeps the arm clear of the region in the image
HOME_SPREAD_M = 0.02
CENTRED_M = 0.035  # cube centre to plate centre, so that it stands on the plate with its whole base
HEIGHT_TOLERANCE_M = 0.005  # a cube at rest this near its height lies flat, on whichever face


class PlaceTask:
    """The scene of one seed. `score()` is 1.0 when the cube rests flat on the plate and the fingers have let go."""

    name = "place1"
    max_steps = 70  # control steps; the oracle needs about 40
    max_score = 1.0

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        rng = np.random.default_rng(seed)
        world.reset()
        cube_xy, plate_xy = _two_apart(rng)
        self.plate = world.add_cylinder(
            PLATE_RADIUS_M, PLATE_HEIGHT_M, [*plate_xy, PLATE_HEIGHT_M / 2], rgba=PLATE_RGBA, mass_kg=PLATE_MASS_KG, friction=0.8
        )
        self.cube = world.add_box(
            [CUBE_EDGE_M / 2] * 3,
            [*cube_xy, CUBE_EDGE_M / 2],
            rgba=CUBE_RGBA,
            mass_kg=CUBE_MASS_KG,
            friction=0.9,
            yaw_rad=float(rng.uniform(-CUBE_YAW_RAD, CUBE_YAW_RAD)),
        )
        start = HOME_STATE.copy()
        start[:3] += rng.uniform(-HOME_SPREAD_M, HOME_SPREAD_M, 3)
        self.start_joints = self._joints(start)
        world.arm.reset(self.start_joints, 1.0)
        world.settle([self.cube, self.plate])

    def _joints(self, state: np.ndarray) -> np.ndarray:
        joints = inverse_kinematics(self.world.spec, state_to_pose(state), self.world.spec.neutral_joints)
        if joints is None:
            raise ValueError(f"{self.name}: the arm cannot reach its start state {np.round(state, 3).tolist()}")
        return joints

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""
        self.world.arm.reset(self._joints(HOME_STATE), 1.0)
        plate = self.world.position(self.plate)
        self.world.place_body(self.cube, [plate[0], plate[1], PLATE_HEIGHT_M + CUBE_EDGE_M / 2 + 0.001])
        self.world.settle([self.cube, self.plate])

    def score(self) -> float:
        """Score at this instant; let the world settle first (`settle`)."""
        cube, plate = self.world.position(self.cube), self.world.position(self.plate)
        on_plate = (
            np.linalg.norm(cube[:2] - plate[:2]) < CENTRED_M
            and abs(cube[2] - (PLATE_HEIGHT_M + CUBE_EDGE_M / 2)) < HEIGHT_TOLERANCE_M
        )
        released = self.world.arm.finger_contacts(self.cube) == 0
        return float(on_plate and released and self.world.at_rest(self.cube))

    def settle(self) -> None:
        """Let the objects come to rest before judging; the arm keeps its last target."""
        self.world.settle([self.cube, self.plate])


def _two_apart(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    while True:
        points = rng.uniform(REGION_LOW_M, REGION_HIGH_M, (2, 2))
        if np.linalg.norm(points[0] - points[1]) >= CLEARANCE_M:
            return points[0], points[1]
