"""Tasks of the simulated WidowX250: start, goal, success and score of each, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from mqe_core.robot.arrays import Floats
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
    start_joints: Floats  # (6,) rad

    def solve(self) -> None:
        """Turn this world into the solved scene that the goal image shows. The world is no start scene any more."""

    def score(self) -> float:
        """0 to `max_score` at this instant; let the world settle first."""

    def stages(self) -> tuple[bool, ...]:
        """Of everything that can be done in this scene, wanted or not, whether it is done now."""

    def open_stages(self) -> tuple[int, ...]:
        """Of `stages`, by index, those that the script could do now: each is a way to go on from here."""

    def only(self, stage: int) -> Task:
        """This very scene, seen by a script that wants this one of `open_stages` and nothing else."""

    def things_m(self) -> Floats:
        """(n,) metres: where everything that matters is now, in an order that is the task's own."""

    def settle(self) -> None:
        """Let everything come to rest; the arm keeps its last target."""


TASKS: dict[str, Callable[..., Task]] = {
    **{f"place{count}": partial(PlaceTask, count=count) for count in (1, 2, 3, 4)},
    **{name: partial(DrawerTask, name=name) for name in ("drawer_open", "drawer_close", "drawer_place")},
    "reach": ReachTask,
}

# Into how many stages each task falls.
STAGES = {name: 1 for name in TASKS} | {"place2": 2, "place3": 3, "place4": 4, "drawer_place": 2}

# Tasks whose stages can be done in any order. The others demand theirs: a drawer is opened before it is filled.
_ANY_ORDER = ("place2", "place3", "place4")
_ORDER_STREAM = 6  # of a scene's random numbers; no other use of its seed draws the same


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


def shuffled_stages(name: str, seed: int) -> tuple[int, ...]:
    """The stages of scene `seed` in an order that its seed alone draws, where the task allows any; else their own."""
    if name not in _ANY_ORDER:
        return tuple(range(STAGES[name]))
    order = np.random.default_rng([seed, _ORDER_STREAM]).permutation(STAGES[name])
    return tuple(int(stage) for stage in order)


def make_task(
    name: str,
    world: World,
    seed: int,
    stage: int | None = None,
    randomise: Iterable[str] = (),
    *,
    done: Sequence[int] | None = None,
) -> Task:
    """Set up scene `seed` of task `name` in `world`, which is reset.

    With `stage`, 0 to STAGES[name] − 1, this stage alone is left to do, as in training data. Those in `done` are done
    already, by default all before it; another order is for tasks of which `shuffled_stages` gives one. `randomise`
    names what else is drawn from the seed; see mqe_sim.variation. Raises ValueError for an unknown task or
    randomisation, or a negative seed.
    """
    check_scene(name, seed)
    world.variation = Variation(randomise, seed)
    if name in _ANY_ORDER:
        return TASKS[name](world, seed, stage=stage, done=done)
    assert done is None or stage is None or tuple(done) == tuple(range(stage)), f"{name} has one order of stages"
    return TASKS[name](world, seed, stage=stage)
