"""Tasks of the simulated WidowX250: start, goal, success and score of each, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import numpy as np

from mqe_sim.tasks.drawer import DrawerTask
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.tasks.reach import ReachTask
from mqe_sim.variation import Variation
from mqe_sim.world import World


class Task(Protocol):
    """A scene that has been set up in a world, and how to judge what was done in it."""

    world: World
    name: str
    seed: int
    max_steps: int  # control steps
    max_score: float  # success is the full score
    language: str  # the task in words, for the data; nothing here reads it
    start_joints: np.ndarray  # (6,) rad

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""

    def score(self) -> float:
        """0 to `max_score` at this instant; let the world settle first."""

    def stages(self) -> tuple[bool, ...]:
        """Which parts of what can be done in this scene are done now, wanted or not."""

    def things_m(self) -> np.ndarray:
        """(n,) metres: where everything that matters is now, in an order that is the task's own."""

    def settle(self) -> None:
        """Let everything come to rest; the arm keeps its last target."""


TASKS: dict[str, Callable[..., Task]] = {
    **{f"place{count}": partial(PlaceTask, count=count) for count in (1, 2, 3, 4)},
    **{name: partial(DrawerTask, name=name) for name in ("drawer_open", "drawer_close", "drawer_place")},
    "reach": ReachTask,
}

STAGES = {
    **{name: 1 for name in TASKS},
    "place2": 2,
    "place3": 3,
    "place4": 4,
    "drawer_place": 2,
}  # what a scene is worked through in


def check_scene(name: str, seed: int) -> None:
    """ValueError for an unknown task or a negative seed."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    if seed < 0:
        raise ValueError(f"a scene seed must not be negative, got {seed}")


def check_stage(name: str, stage: int) -> None:
    """ValueError where a known task has no such stage, from 0."""
    if not 0 <= stage < STAGES[name]:
        raise ValueError(f"{name} has stages 1 to {STAGES[name]}, not a stage {stage + 1}")


def make_task(name: str, world: World, seed: int, stage: int | None = None, randomise: Iterable[str] = ()) -> Task:
    """Build the scene of task `name` for `seed` in `world` (which is reset); ValueError lists the known names.

    With `stage`, 0 to STAGES[name] − 1, a single stage of the task is left to do, those before it done: what training data shows. `randomise` names
    what else is drawn from the seed; see mqe_sim.variation.
    """
    check_scene(name, seed)
    world.variation = Variation(randomise, seed)
    return TASKS[name](world, seed, stage=stage)
