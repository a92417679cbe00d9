"""Tasks of the simulated WidowX250: start, goal, success and score of each, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np

from mqe_sim.tasks.place import PlaceTask
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

    def settle(self) -> None:
        """Let everything come to rest; the arm keeps its last target."""


TASKS: dict[str, Callable[[World, int], Task]] = {f"place{count}": partial(PlaceTask, count=count) for count in (1, 2, 3, 4)}


def make_task(name: str, world: World, seed: int) -> Task:
    """Build the scene of task `name` for `seed` in `world` (which is reset); ValueError lists the known names."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    if seed < 0:
        raise ValueError(f"a scene seed must not be negative, got {seed}")
    return TASKS[name](world, seed)
