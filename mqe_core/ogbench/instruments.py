"""What tells in minutes whether an agent learns a maze: its distances and directions against the true ones.

Three figures over pairs of cells (start, goal) that are drawn once:

rank correlation   of the learned distance with the length of the shortest way (Spearman)
critic's cosine    between the way's direction and the one of 32 directions that the critic likes best; of an agent
                   without a critic of actions, the one whose next state it values most
actor's cosine     between the way's direction and the policy's action

Where two neighbours of the start lie on shortest ways, the nearer direction counts. Directions are actions in the point
mazes only, where an action is a move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mqe_core.ogbench.mazes import Cell, Maze
from mqe_core.robot.arrays import AnyArray, Float32s, Floats

PAIRS = 600
DIRECTIONS = 32
MOVE = 0.2  # m: where an action of length 1 leads the point

Distance = Callable[[AnyArray, AnyArray], AnyArray]  # observations, goals -> (n,)
ActionValue = Callable[[AnyArray, AnyArray, AnyArray], AnyArray]  # observations, goals, actions -> (n,)
Action = Callable[[AnyArray, AnyArray], AnyArray]  # observations, goals -> (n, 2)


@dataclass(frozen=True)
class Figures:
    """None where the agent has nothing to measure."""

    rank_correlation: float | None
    critic_cosine: float | None
    actor_cosine: float | None


def pairs_of_cells(maze: Maze, count: int = PAIRS, seed: int = 0) -> list[tuple[Cell, Cell]]:
    """Starts and goals, different and connected, drawn with replacement."""
    rng, cells = np.random.default_rng(seed), maze.cells
    pairs: list[tuple[Cell, Cell]] = []
    while len(pairs) < count:
        start, goal = (cells[index] for index in rng.integers(len(cells), size=2))
        if start != goal and maze.steps_to(goal)[start] > 0:
            pairs.append((start, goal))
    return pairs


def measure(
    maze: Maze,
    pairs: list[tuple[Cell, Cell]],
    as_state: Callable[[Floats], Float32s],
    *,
    action: Action | None,
    distance: Distance | None,
    action_value: ActionValue | None,
) -> Figures:
    """The three figures. ``as_state``: positions (n, 2) -> the states (n, S) that an agent sees there."""
    starts, goals = (np.array([maze.position(pair[side]) for pair in pairs]) for side in (0, 1))
    seen, aim = as_state(starts), as_state(goals)
    lengths = np.array([maze.steps_to(goal)[start] for start, goal in pairs])
    correlation = None if distance is None else rank_correlation(distance(seen, aim), lengths)
    ways = [[_unit(maze.position(cell) - maze.position(s)) for cell in maze.next_cells(s, g)] for s, g in pairs]
    if action is None:
        return Figures(correlation, None, None)
    critic = None
    directions = _directions()
    if action_value is not None:
        liked = [action_value(seen, aim, np.tile(way, (len(seen), 1))) for way in directions]
    elif distance is not None:
        liked = [-distance(as_state(starts + MOVE * way), aim) for way in directions]
    else:
        liked = []
    if liked:
        critic = _mean_cosine(directions[np.argmax(np.stack(liked), axis=0)], ways)
    return Figures(correlation, critic, _mean_cosine(action(seen, aim), ways))


def rank_correlation(a: AnyArray, b: AnyArray) -> float:
    """Spearman's, (n,), (n,): of ranks, equal values sharing their mean rank; 0 where one of them is constant."""
    ranks = [_ranks(np.asarray(values, dtype=np.float64)) for values in (a, b)]
    first, second = (values - values.mean() for values in ranks)
    size = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / size) if size > 0 else 0.0


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Floats = ends - (counts - 1) / 2.0
    ranks: Floats = means[place]
    return ranks


def _directions() -> Float32s:
    angles = 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def _mean_cosine(actions: AnyArray, ways: list[list[Floats]]) -> float:
    """Of each action with the best of its ways; an action of no length has cosine 0."""
    cosines: list[float] = []
    for action, options in zip(np.asarray(actions, dtype=np.float64), ways):
        length = np.linalg.norm(action)
        cosines.append(float(max(action @ way for way in options) / length) if length > 0 else 0.0)
    return float(np.mean(cosines))
