"""Script for place1 ... place4: one wanted object after the other onto its target, then home."""

from __future__ import annotations

from mqe_core.robot.arrays import Floats
from mqe_sim.oracles.errands import Errand, go_home, next_errand
from mqe_sim.oracles.oracle import Plan
from mqe_sim.tasks.place import PlaceTask


def plan(task: PlaceTask, hand: Floats, opening: float) -> Plan:
    """Next step of the script."""
    world = task.world
    errands = [
        Errand(kind, place, world.position(body), world.yaw(body), world.position(target))
        for (kind, place), body, target in zip(task.pairs, task.objects, task.targets)
    ]
    return next_errand(hand, opening, [errands[i] for i in task.wanted], errands) or go_home(hand, errands)
