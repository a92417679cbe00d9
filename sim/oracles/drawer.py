"""Script for the drawer tasks: take the bar, pull or push, let go; then the cube; then home."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.cabinet import FLOOR_M
from mqe_sim.objects import CUBE, TargetKind
from mqe_sim.oracles.errands import Errand, go_home, let_go, next_errand
from mqe_sim.oracles.moves import HOVER_M, funnel, go, opened
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.drawer import CLOSED_M, OPEN_M, WANTED_OPEN_M, DrawerTask

_AROUND_M = np.array([0.020, 0.014, 0.012])  # hand to the bar's middle, per axis: the bar is between the fingers
_FUNNEL_M = 0.030
_INSIDE = TargetKind("drawer", (), FLOOR_M, 0.035, 0.0, 0.0)


def plan(task: DrawerTask, hand: Floats, opening: float) -> Plan:
    """Next step of the script."""
    world, cabinet = task.world, task.cabinet
    errand = Errand(CUBE, _INSIDE, world.position(task.cube), world.yaw(task.cube), cabinet.inside_m)
    bar, open_m = cabinet.bar_m, cabinet.open_m
    around = bool((np.abs(hand - bar) < _AROUND_M).all())
    if not task.wants_drawer:
        ready = True
    elif task.wants_open:
        ready = open_m > (WANTED_OPEN_M - 0.006 if around else OPEN_M + 0.004)
    else:
        ready = open_m < (0.006 if around else CLOSED_M - 0.004)
    if around:
        return (
            let_go(hand, opening)
            if ready
            else _slide(hand, opening, bar, open_m, WANTED_OPEN_M if task.wants_open else 0.0)
        )
    if not ready:
        return let_go(hand, opening) if errand.held_by(hand) else _reach_for(hand, opening, bar)
    over_cube = float(np.linalg.norm(hand[:2] - errand.position[:2])) < 0.03
    if _beside(hand, bar) and not (task.wants_inside and over_cube):  # straight up first
        return Plan(np.array([*hand[:2], HOVER_M]), 1.0)
    return (next_errand(hand, opening, [errand], [errand]) if task.wants_inside else None) or go_home(hand, [errand])


def _slide(hand: Floats, opening: float, bar: Floats, open_m: float, wanted_m: float) -> Plan:
    """Close, and move the bar along the rails as far as the fingers are closed, a little past the wanted place."""
    closed = 1.0 - opened(opening)
    way_m = wanted_m - open_m
    way_m += 0.004 * np.sign(way_m)
    return Plan(np.array([bar[0], hand[1] - closed * way_m, bar[2]]), 0.0)


def _reach_for(hand: Floats, opening: float, bar: Floats) -> Plan:
    """Over the bar, and down with open fingers."""
    height = max(funnel(hand, bar, bar[2], _FUNNEL_M), (1.0 - opened(opening)) * HOVER_M)
    return Plan(go(hand, np.array([*bar[:2], height]), bar, bar[2] + 0.005), 1.0, free=bool(hand[2] > 0.09))


def _beside(hand: Floats, bar: Floats) -> bool:
    """Whether the fingers might catch the bar when they move sideways."""
    return bool(np.abs(hand[0] - bar[0]) < 0.06 and np.abs(hand[1] - bar[1]) < 0.06 and hand[2] < bar[2] + 0.035)
