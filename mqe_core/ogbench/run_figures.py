"""The instruments on a trained run."""

from __future__ import annotations

import numpy as np
import torch

from mqe_core.ogbench.critics import action_value, distance
from mqe_core.ogbench.environments import Environment, make_environment, reset
from mqe_core.ogbench.instruments import Action, ActionValue, Distance, Figures, measure, pairs_of_cells
from mqe_core.ogbench.mazes import Maze
from mqe_core.ogbench.run_evaluation import LoadedRun
from mqe_core.ogbench.training import as_policy
from mqe_core.robot.arrays import AnyArray, Float32s, Floats


def figures_of_run(run: LoadedRun) -> Figures | None:
    """None where the run is not of a maze with states."""
    if not run.name.maze or run.name.pixels:
        return None
    environment = make_environment(run.name)
    maze, states = Maze.of_environment(environment), StatesAt(environment)
    point = run.name.scene.startswith("pointmaze-")
    return measure(
        maze,
        pairs_of_cells(maze),
        states,
        action=action_of_run(run) if point else None,
        distance=distance_of_run(run, maze, states),
        action_value=value_of_run(run, maze, states) if point else None,
    )


class StatesAt:
    """The state of an environment at its start, moved to other positions, ``(n, 2) -> (n, S)``."""

    def __init__(self, environment: Environment) -> None:
        observation, _ = reset(environment, 0, {"task_id": 1})
        self._start = np.asarray(observation, dtype=np.float32)

    def __call__(self, positions: Floats) -> Float32s:
        states = np.tile(self._start, (len(positions), 1))
        states[:, :2] = positions
        return states


def action_of_run(run: LoadedRun) -> Action:
    """The policy's mean action."""
    return as_policy(run.module)


def distance_of_run(run: LoadedRun, maze: Maze, states: StatesAt) -> Distance | None:
    """None where the agent has neither distance nor value."""

    def measure_distance(observations: AnyArray, goals: AnyArray) -> AnyArray:
        steps = distance(run.module.agent, *_tensors(observations, goals))
        assert steps is not None, "asked only of agents that know it"
        result: AnyArray = steps.numpy()
        return result

    seen = states(maze.position(maze.cells[0])[None])
    return None if distance(run.module.agent, *_tensors(seen, seen)) is None else measure_distance


def value_of_run(run: LoadedRun, maze: Maze, states: StatesAt) -> ActionValue | None:
    """None where the agent judges no actions."""

    def measure_value(observations: AnyArray, goals: AnyArray, actions: AnyArray) -> AnyArray:
        value = action_value(run.module.agent, *_tensors(observations, goals, actions))
        assert value is not None, "asked only of agents that know it"
        result: AnyArray = value.numpy()
        return result

    seen = states(maze.position(maze.cells[0])[None])
    none = np.zeros((1, run.widths.action), np.float32)
    return None if action_value(run.module.agent, *_tensors(seen, seen, none)) is None else measure_value


def _tensors(*arrays: AnyArray) -> list[torch.Tensor]:
    return [torch.from_numpy(array.astype(np.float32, copy=False)) for array in arrays]
