"""Tasks of the simulated WidowX250: start, goal, success and score of each, by name."""

from __future__ import annotations

from mqe_sim.tasks.place import PlaceTask
from mqe_sim.world import World

TASKS = {"place1": PlaceTask}


def make_task(name: str, world: World, seed: int) -> PlaceTask:
    """Build the scene of task `name` for `seed` in `world` (which is reset); ValueError lists the known names."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    if seed < 0:
        raise ValueError(f"a scene seed must not be negative, got {seed}")
    return TASKS[name](world, seed)
