"""A run's learned distance over its maze, beside the true one, with the policy's arrows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.ogbench.environments import make_environment
from mqe_core.ogbench.instruments import MOVE
from mqe_core.ogbench.mazes import Cell, Maze
from mqe_core.ogbench.run_evaluation import LoadedRun
from mqe_core.ogbench.run_figures import StatesAt, action_of_run, distance_of_run
from mqe_core.robot.arrays import Floats

PER_CELL = 8  # points of the field along a cell's side


def draw_distance(run: LoadedRun, out: Path, goal: Cell | None = None) -> None:
    """A PNG of two mazes, coloured by the way to ``goal`` (by default that of the first task); arrows where an action
    is a move. ValueError where the run is of no maze, or where the goal is a wall.
    """
    if not run.name.maze or run.name.pixels:
        raise ValueError(f"{run.path} was trained on {run.name.text}: a distance is drawn over a maze, from states")
    environment = make_environment(run.name)
    maze = Maze.of_environment(environment)
    goal = environment.unwrapped.task_infos[0]["goal_ij"] if goal is None else goal
    if goal not in maze.cells:
        raise ValueError(f"--goal {goal[0]},{goal[1]} is no free cell of {run.name.environment}: row and column")
    states = StatesAt(environment)
    distance = distance_of_run(run, maze, states)
    aim = states(maze.position(goal)[None])
    learned = None
    if distance is not None:
        points = _points(maze)
        found = distance(states(points), np.tile(aim, (len(points), 1)))
        learned = _walls_out(maze, found.reshape(_shape(maze)))
    arrows = None
    if run.name.scene.startswith("pointmaze-"):
        middles = np.array([maze.position(cell) for cell in maze.cells])
        actions = action_of_run(run)(states(middles), np.tile(aim, (len(middles), 1)))
        arrows = (middles, np.asarray(actions, dtype=np.float64))
    _draw(maze, goal, learned, arrows, f"{run.agent} after {run.step:,} updates", out)


def _shape(maze: Maze) -> tuple[int, int]:
    rows, columns = maze.walls.shape
    return rows * PER_CELL, columns * PER_CELL


def _points(maze: Maze) -> Floats:
    """(rows * columns of the field, 2): positions, row by row."""
    rows, columns = _shape(maze)
    y, x = ((np.arange(n) + 0.5) / PER_CELL * maze.unit - 0.5 * maze.unit - maze.offset for n in (rows, columns))
    return np.stack([np.tile(x, rows), np.repeat(y, columns)], axis=1)


def _walls_out(maze: Maze, field: Floats) -> Floats:
    walls = np.repeat(np.repeat(maze.walls, PER_CELL, axis=0), PER_CELL, axis=1) == 1
    return np.where(walls, np.nan, field)


def _true(maze: Maze, goal: Cell) -> Floats:
    """The way in steps of the point, of each cell."""
    cells = maze.steps_to(goal).astype(np.float64) * maze.unit / MOVE
    return _walls_out(maze, np.repeat(np.repeat(cells, PER_CELL, axis=0), PER_CELL, axis=1))


def _draw(
    maze: Maze, goal: Cell, learned: Floats | None, arrows: tuple[Floats, Floats] | None, title: str, out: Path
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = maze.walls.shape
    figure = Figure(figsize=(12.0, 12.0 / 2.2 * rows / columns + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    corner, far = maze.position((0, 0)) - maze.unit / 2, maze.position((rows - 1, columns - 1)) + maze.unit / 2
    extent = (corner[0], far[0], corner[1], far[1])
    panels: list[tuple[Any, Floats | None, str]] = [
        (left, _true(maze, goal), "true: steps of the shortest way"),
        (right, learned, f"learned: {title}" if learned is not None else f"{title}: it knows no distance"),
    ]
    for axes, field, name in panels:
        axes.set_facecolor("0.25")
        axes.set_title(name, fontsize=10)
        if field is not None:
            shown = axes.imshow(field, origin="lower", extent=extent, cmap="viridis_r", interpolation="nearest")
            figure.colorbar(shown, ax=axes, shrink=0.8)
        x, y = maze.position(goal)
        axes.plot(x, y, marker="*", color="red", markersize=14)
        axes.set_xlim(extent[0], extent[1])
        axes.set_ylim(extent[2], extent[3])
        axes.set_aspect("equal")
    if arrows is not None:
        (at, actions), side = arrows, maze.unit * 0.45
        right.quiver(
            *(at[:, 0], at[:, 1], side * actions[:, 0], side * actions[:, 1]),
            **{"angles": "xy", "scale_units": "xy", "scale": 1.0, "color": "black", "width": 0.004},
        )
    figure.savefig(out, dpi=110)
