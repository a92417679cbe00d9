"""Script for place1 ... place4: the first object that is not yet on its target, then the next, then home."""

from __future__ import annotations

import numpy as np

from mqe_sim.objects import ObjectKind, TargetKind
from mqe_sim.oracles.moves import HOVER_M, funnel, go, opened, ramp
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.home import HOME_STATE
from mqe_sim.tasks.place import PlaceTask

GRASP_HEIGHT_M = 0.018  # of the hand above what the object stands on
_BETWEEN_M = np.array([0.012, 0.014, 0.012])  # hand to grasp point, per axis: the object is between the fingers
_RELEASE_ABOVE_M = 0.008  # an object this little above its place may drop
_GRASP_FUNNEL_M, _CARRY_FUNNEL_M = 0.030, 0.016  # the object must not catch on a bowl's rim
_CENTRED_M, _MARGIN_M = 0.022, 0.006  # off-centre when let go; how much nearer than needed an object must lie to be left alone


def plan(task: PlaceTask, hand: np.ndarray, opening: float) -> Plan:
    """Next step of the script."""
    objects = [task.world.position(body) for body in task.objects]
    targets = [task.world.position(body) for body in task.targets]
    grasps = [position + [0.0, 0.0, GRASP_HEIGHT_M - kind.height_m / 2] for position, (kind, _) in zip(objects, task.pairs)]
    between = [bool((np.abs(hand - grasp) < _BETWEEN_M).all()) for grasp in grasps]
    placed = [_placed(p, t, kinds, b) for p, t, kinds, b in zip(objects, targets, task.pairs, between)]
    nearest = int(np.argmin([np.linalg.norm(hand[:2] - position[:2]) for position in objects]))
    obstacle, top_m = objects[nearest], objects[nearest][2] + task.pairs[nearest][0].height_m / 2
    high = bool(hand[2] > top_m + 0.03)
    if any(b and p for b, p in zip(between, placed)):  # let go, and rise only as far as the fingers are open
        return Plan(np.array([*hand[:2], hand[2] + opened(opening) * HOVER_M]), 1.0)
    if all(placed):
        home = float(np.linalg.norm(hand - HOME_STATE[:3])) < 0.03
        return Plan(go(hand, HOME_STATE[:3], obstacle, top_m), 1.0, free=high, finished=home)
    index = between.index(True) if any(between) else placed.index(False)
    if between[index]:
        return _carry(hand, opening, objects[index], targets[index], *task.pairs[index])
    grasp = grasps[index]
    height = funnel(hand, grasp, grasp[2] if grasp[2] < 0.06 else HOVER_M, _GRASP_FUNNEL_M)
    height = max(height, (1.0 - opened(opening)) * HOVER_M)  # goes down with open fingers only
    waypoint = go(hand, np.array([*grasp[:2], height]), obstacle, top_m)
    return Plan(waypoint, 1.0, yaw_rad=task.world.yaw(task.objects[index]), free=high)


def _carry(hand: np.ndarray, opening: float, held: np.ndarray, target: np.ndarray, kind: ObjectKind, place: TargetKind) -> Plan:
    """Close, lift as far as the fingers are closed, go over the target and down."""
    closed = 1.0 - opened(opening)
    bottom = held[2] - kind.height_m / 2
    height = funnel(held, target, place.support_m + kind.height_m / 2, _CARRY_FUNNEL_M)
    lifted = ramp(bottom, 0.01, 0.05)
    over_target = float(np.linalg.norm(held[:2] - target[:2])) < _CARRY_FUNNEL_M
    xy = hand[:2] + closed * (1.0 if over_target else lifted) * (target[:2] - held[:2])
    return Plan(np.array([*xy, hand[2] + closed * (height - held[2])]), 0.0, free=lifted == 1.0 and not over_target)


def _placed(position: np.ndarray, target: np.ndarray, kinds: tuple[ObjectKind, TargetKind], between: bool) -> bool:
    kind, place = kinds
    near_m = _CENTRED_M if between else place.centred_m - _MARGIN_M
    over = float(np.linalg.norm(position[:2] - target[:2])) < near_m
    return over and position[2] < place.support_m + kind.height_m / 2 + _RELEASE_ABOVE_M
