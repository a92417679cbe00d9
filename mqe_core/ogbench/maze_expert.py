"""The plain expert of the point mazes: one step of length 1 towards the next cell of the shortest way, with noise.

navigate: from goal to goal among the cells that are no hallway. stitch: to one goal four cells away, and staying there.
After OGBench, whose expert is the same direction followed by a trained body; a point has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mqe_core.ogbench.environments import make_environment, reset
from mqe_core.ogbench.mazes import Cell, Maze
from mqe_core.ogbench.names import DatasetName
from mqe_core.robot.arrays import Floats, Ints

NOISE = 0.5  # standard deviation of what is added to an action
STITCH_CELLS = 4
_SMALL = 1e-6


def maze_episodes(name: DatasetName, rows: int, seed: int) -> Iterator[dict[str, list[Any]]]:
    """Episodes without end, drawn from NumPy's global generator and ``seed``."""
    environment = make_environment(name, terminate_at_goal=False, max_episode_steps=rows)
    maze = Maze.of_environment(environment)
    expert = Expert(maze)
    seeds = np.random.SeedSequence(seed)
    while True:
        cells = maze.cells
        start = cells[np.random.randint(len(cells))]
        goal = _draw(maze.vertices) if name.kind == "navigate" else _stitch_goal(maze, start)
        options = {"task_info": {"init_ij": start, "goal_ij": goal}}
        observation, _ = reset(environment, int(seeds.spawn(1)[0].generate_state(1)[0]), options)
        episode: dict[str, list[Any]] = {key: [] for key in ("observations", "actions", "terminals", "qpos", "qvel")}
        done = False
        while not done:
            inner = environment.unwrapped
            towards = expert.direction(inner.get_xy(), np.asarray(inner.cur_goal_xy))
            action = np.clip(towards + np.random.normal(0.0, NOISE, 2), -1.0, 1.0)
            following, _, terminated, truncated, info = environment.step(action)
            done = terminated or truncated
            if info["success"] and name.kind == "navigate":
                x, y = maze.position(_draw(maze.vertices))
                inner.set_goal(goal_xy=inner.add_noise((x, y)))
            row = (observation, action, done, info["prev_qpos"], info["prev_qvel"])
            for key, value in zip(episode, row):
                episode[key].append(value)
            observation = following
        yield episode


class Expert:
    """Remembers the ways to each goal's cell."""

    def __init__(self, maze: Maze) -> None:
        self._maze, self._steps = maze, dict[Cell, Ints]()

    def direction(self, position: Floats, goal: Floats) -> Floats:
        """(2,): of length 1 towards the middle of the next cell; in the goal's cell, towards its middle."""
        cell, goal_cell = self._maze.cell_at(position), self._maze.cell_at(goal)
        if goal_cell not in self._steps:
            self._steps[goal_cell] = self._maze.steps_to(goal_cell)
        steps = self._steps[goal_cell]
        nearest = min(self._maze.neighbours(cell), key=lambda neighbour: int(steps[neighbour]), default=cell)
        following = nearest if steps[nearest] < steps[cell] else cell
        towards = self._maze.position(following) - position
        return np.asarray(towards / (np.linalg.norm(towards) + _SMALL))


def _draw(cells: list[Cell]) -> Cell:
    return cells[np.random.randint(len(cells))]


def _stitch_goal(maze: Maze, start: Cell) -> Cell:
    """A cell exactly four cells away; the start itself where there is none."""
    away = [(int(row), int(column)) for row, column in np.argwhere(maze.steps_to(start) == STITCH_CELLS)]
    return _draw(away) if away else start
