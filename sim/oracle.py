"""A scripted expert for pick-and-place: sees the true poses, acts in Bridge actions at 5 Hz.

It is reactive: every action is a function of what a camera could see as well (where the hand, the cube and the plate are, how far the
fingers are open), never of a hidden stage or a timer. A policy that sees one image can therefore imitate it, and it recovers from whatever
happens. Small noise, wandering while the hand moves freely, makes the data a tube around many paths.

In a stated share of the episodes a disturbance takes the arm away first: for some steps, begun at any moment of the episode, the hand drifts
anywhere and the gripper may open or close. Only what follows is worth imitating, so `record_from` is the step at which the disturbance
is over: the data shows how errors are corrected, not how they are made.
"""

from __future__ import annotations

import numpy as np

from mqe_core.geometry import pose_to_state
from mqe_core.spec import RobotSpec
from mqe_sim.tasks.place import CUBE_EDGE_M, HOME_STATE, PLATE_HEIGHT_M, PlaceTask

_HOVER_M = 0.10  # height at which the hand crosses the table
_GRASP_HEIGHT_M = CUBE_EDGE_M / 2
_PLACED_HEIGHT_M = PLATE_HEIGHT_M + CUBE_EDGE_M / 2
_BETWEEN_M = np.array([0.012, 0.014, 0.012])  # hand to cube's centre, per axis: the cube is between the fingers
_ALIGNED_M, _FUNNEL_M = 0.006, 0.030  # from so far off-centre inward the hand goes down; it is all up this much further out
_RELEASE_ABOVE_M = 0.008  # a cube this little above its place on the plate may drop
_ON_PLATE_M = 0.016  # cube's centre to the plate's
_HELD_OPENING, _OPEN_OPENING = 0.80, 0.97  # measured gripper: closed on a cube (0.72), and free of it
_STEP_GAIN = 0.6  # share of the remaining way per step, so that it slows down before a waypoint
_MAX_STEP_M, _MAX_STEP_RAD = 0.038, 0.15
_CLEAR_M = 0.03  # fingertips above the cube's top

_WANDER_M, _WHITE_M = 0.003, 0.001  # noise on the action, per step
_DISTURBED_SHARE = 0.6  # of the episodes have one disturbance
_LAST_DISTURBANCE_STEP = 36  # about when an undisturbed episode retreats
_DISTURBANCE_STEPS = (2, 7)  # half-open range
_DRIFT_M, _DRIFT_RAD = 0.030, 0.03  # per step and axis, uniform ±
_DRIFT_LOW_M, _DRIFT_HIGH_M = np.array([0.17, -0.12, 0.012]), np.array([0.37, 0.14, 0.20])  # where a drift stops
_GRIPPER_FLIP_SHARE = 0.4


class PlaceOracle:
    """One episode's expert; `act` is called once per control step.

    Args:
        spec: the robot.
        task: the scene.
        rng: source of all its noise.
        noise: scale of the noise and of the disturbed share; 0 gives the plain script.

    Attributes:
        record_from: the step at which the disturbance, if any, is over; known from the start.
        done: the cube stands on the plate and the hand is back home.
    """

    def __init__(self, spec: RobotSpec, task: PlaceTask, rng: np.random.Generator, noise: float = 1.0) -> None:
        self._spec, self._task, self._rng, self._noise = spec, task, rng, noise
        self._wander = np.zeros(3)
        self._steps = 0
        self._disturbed_from = self.record_from = 0
        if rng.random() < noise * _DISTURBED_SHARE:
            self._disturbed_from = int(rng.integers(0, _LAST_DISTURBANCE_STEP))
            self.record_from = self._disturbed_from + int(rng.integers(*_DISTURBANCE_STEPS))
        self._drift = np.concatenate([rng.uniform(-_DRIFT_M, _DRIFT_M, 3), rng.uniform(-_DRIFT_RAD, _DRIFT_RAD, 3)])
        self._flip_gripper = bool(rng.random() < _GRIPPER_FLIP_SHARE)
        self.done = False

    def act(self, target_pose: np.ndarray, measured_pose: np.ndarray) -> np.ndarray:
        """Action (7,) for the arm's commanded and measured poses (4, 4); sets `done` after the retreat."""
        world = self._task.world
        hand, target = measured_pose[:3, 3], target_pose[:3, 3]
        cube, plate = world.position(self._task.cube), world.position(self._task.plate)
        waypoint, gripper, free = _waypoint(hand, world.arm.gripper(), cube, plate)
        seek = gripper == 1.0 and not _placed(cube, plate)  # only then turned as the cube is, so that the fingers fit around it
        disturbed = self._disturbed_from <= self._steps < self.record_from
        self._steps += 1
        if disturbed:
            drift = self._drift.copy()
            drift[:3] = np.clip(target + drift[:3], _DRIFT_LOW_M, _DRIFT_HIGH_M) - target
            return np.concatenate([drift, [1.0 - gripper if self._flip_gripper else gripper]])
        delta = _STEP_GAIN * (waypoint - target)
        longest = np.abs(delta).max()
        if longest > _MAX_STEP_M:
            delta *= _MAX_STEP_M / longest
        self._wander = 0.7 * self._wander + self._noise * self._rng.normal(0.0, _WANDER_M, 3)
        delta += free * self._wander + self._noise * self._rng.normal(0.0, _WHITE_M, 3)
        turn = np.array([0.0, 0.0, world.yaw(self._task.cube) if seek else 0.0]) - pose_to_state(target_pose, 0.0)[3:6]
        rotation = np.clip(_STEP_GAIN * turn, -_MAX_STEP_RAD, _MAX_STEP_RAD)
        self.done = gripper == 1.0 and _placed(cube, plate) and float(np.linalg.norm(hand - HOME_STATE[:3])) < 0.03
        return np.concatenate([delta, rotation, [gripper]])


def _placed(cube: np.ndarray, plate: np.ndarray) -> bool:
    over = float(np.linalg.norm(cube[:2] - plate[:2])) < _ON_PLATE_M
    return over and cube[2] < _PLACED_HEIGHT_M + _RELEASE_ABOVE_M


def _waypoint(hand: np.ndarray, opening: float, cube: np.ndarray, plate: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """Where to go (3,), the gripper, and whether the way there is free of contact (so may wander)."""
    between = bool((np.abs(hand - cube) < _BETWEEN_M).all())
    opened = _ramp(opening, _HELD_OPENING, _OPEN_OPENING)
    if _placed(cube, plate):
        if between:  # let go, and rise only as far as the fingers are open
            return np.array([*hand[:2], hand[2] + opened * _HOVER_M]), 1.0, False
        return _go(hand, HOME_STATE[:3], cube), 1.0, hand[2] > cube[2] + 0.05
    if between:  # close, and lift as far as they are closed; then carry
        height = _funnel(cube, plate, _PLACED_HEIGHT_M)
        lifted = _ramp(cube[2], _GRASP_HEIGHT_M + 0.01, _GRASP_HEIGHT_M + 0.05)
        over_plate = float(np.linalg.norm(cube[:2] - plate[:2])) < _FUNNEL_M
        sideways = 1.0 if over_plate else lifted
        xy = hand[:2] + (1.0 - opened) * sideways * (plate[:2] - cube[:2])
        return np.array([*xy, hand[2] + (1.0 - opened) * (height - cube[2])]), 0.0, lifted == 1.0 and not over_plate
    height = _funnel(hand, cube, cube[2] if cube[2] < 0.05 else _HOVER_M)
    height = max(height, (1.0 - opened) * _HOVER_M)  # goes down with open fingers only
    return _go(hand, np.array([*cube[:2], height]), cube), 1.0, hand[2] > cube[2] + 0.05


def _funnel(position: np.ndarray, over: np.ndarray, bottom_m: float) -> float:
    """Height to be at: `bottom_m` where centred over `over`, the crossing height where far from it."""
    off = float(np.linalg.norm(position[:2] - over[:2]))
    return bottom_m + _ramp(off, _ALIGNED_M, _ALIGNED_M + _FUNNEL_M) * (_HOVER_M - bottom_m)


def _go(hand: np.ndarray, goal: np.ndarray, obstacle: np.ndarray) -> np.ndarray:
    """`goal`, or first up where the fingers are beside or around the obstacle and would push it."""
    near = 1.0 - _ramp(float(np.linalg.norm(hand[:2] - obstacle[:2])), 0.06, 0.09)
    aside = _ramp(float(np.linalg.norm(goal[:2] - hand[:2])), _ALIGNED_M, 2 * _ALIGNED_M)
    low = 1.0 - _ramp(hand[2], obstacle[2] + CUBE_EDGE_M / 2, obstacle[2] + CUBE_EDGE_M / 2 + _CLEAR_M)
    blocked = near * aside * low
    up = np.array([*hand[:2], obstacle[2] + _HOVER_M])
    return blocked * up + (1.0 - blocked) * goal


def _ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, linear between."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))
