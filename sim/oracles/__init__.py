"""Scripted experts: one script per kind of task, one loop that adds noise and disturbances."""

from __future__ import annotations

import numpy as np

from mqe_sim.oracles import drawer, place, reach
from mqe_sim.oracles.oracle import Oracle, Planner
from mqe_sim.tasks import Task
from mqe_sim.tasks.drawer import DrawerTask
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.tasks.reach import ReachTask

_PLANNERS: dict[type[Task], Planner] = {PlaceTask: place.plan, DrawerTask: drawer.plan, ReachTask: reach.plan}


def make_oracle(task: Task, rng: np.random.Generator, noise: float = 1.0, events: bool = True) -> Oracle:
    """The expert for the scene that `task` is; see Oracle."""
    return Oracle(task, _PLANNERS[type(task)], rng, noise, events)
