"""The sampler and the critic loss together learn a distance that a greedy policy can follow; one-step waypoints do
not.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
import torch

from mqe_core.learning.agents.mqe import critic_loss
from mqe_core.learning.quasimetric import mrn_distance_matrix
from mqe_core.learning.rows.goal_sampling import TransitionIndex, WaypointSampler

SIDE, ACTIONS, DISCOUNT = 5, 4, 0.95
MOVES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
WALL = {(2, 1), (2, 2), (2, 3)}
CELLS = [(r, c) for r in range(SIDE) for c in range(SIDE) if (r, c) not in WALL]
INDEX = {cell: index for index, cell in enumerate(CELLS)}
NEXT = np.array([[INDEX.get((r + dr, c + dc), INDEX[r, c]) for dr, dc in MOVES] for r, c in CELLS])  # (S, A)


def hops() -> np.ndarray:
    """Fewest moves between all cells, ``(S, S)``, by breadth-first search."""
    table = np.full((len(CELLS), len(CELLS)), -1)
    for start in range(len(CELLS)):
        table[start, start] = 0
        queue = deque([start])
        while queue:
            cell = queue.popleft()
            for neighbour in NEXT[cell]:
                if table[start, neighbour] < 0:
                    table[start, neighbour] = table[start, cell] + 1
                    queue.append(neighbour)
    return table


def learn(next_state_sample: float) -> tuple[float, float]:
    """Train on a random walk; rank correlation of d(s, g) with the hops, and the success rate of the greedy policy."""
    rng = np.random.default_rng(0)
    episodes, length = 200, 101
    cells, actions = np.empty((episodes, length), dtype=np.int64), rng.integers(ACTIONS, size=(episodes, length))
    cells[:, 0] = rng.integers(len(CELLS), size=episodes)
    for t in range(1, length):
        cells[:, t] = NEXT[cells[:, t - 1], actions[:, t - 1]]
    valid = np.ones((episodes, length), dtype=bool)
    valid[:, -1] = False
    transitions = TransitionIndex(valid.reshape(-1), length * (1 + np.arange(episodes)))
    sampler = WaypointSampler(DISCOUNT, lambda_=0.95, next_state_sample=next_state_sample)
    cells, actions = cells.reshape(-1), actions.reshape(-1)

    torch.manual_seed(0)
    psi = torch.randn(1, len(CELLS), 32, requires_grad=True)
    phi = torch.randn(1, len(CELLS) * ACTIONS, 32, requires_grad=True)
    optimiser = torch.optim.Adam([psi, phi], lr=3e-2)
    for _ in range(1500):
        rows = sampler.sample(transitions, rng, 128)
        loss, _ = critic_loss(
            phi[:, cells[rows.observation] * ACTIONS + actions[rows.observation]],
            psi[:, cells[rows.observation]],
            psi[:, cells[rows.frames["waypoint"]]],
            psi[:, cells[rows.frames["value_goal"]]],
            torch.from_numpy(rows.steps_to("waypoint")).float(),
            components=4,
            discount=DISCOUNT,
            linex_clip=5.0,
            diagonal_weight=0.2,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    with torch.no_grad():
        distance = mrn_distance_matrix(psi, psi, 4)[0].numpy()
        to_goal = mrn_distance_matrix(phi, psi, 4)[0].numpy().reshape(len(CELLS), ACTIONS, -1)
    apart = ~np.eye(len(CELLS), dtype=bool)
    ranks = [np.argsort(np.argsort(table[apart], kind="stable"), kind="stable") for table in (distance, hops())]
    reached = []
    for goal in range(len(CELLS)):
        cell = np.arange(len(CELLS))
        for _ in range(4 * SIDE):
            cell = np.where(cell == goal, cell, NEXT[cell, to_goal[cell, :, goal].argmin(1)])
        reached.append(np.delete(cell == goal, goal))
    return float(np.corrcoef(ranks)[0, 1]), float(np.mean(reached))


@pytest.mark.slow
def test_multistep_waypoints_learn_a_distance_that_one_step_waypoints_do_not() -> None:
    correlation, success = learn(next_state_sample=0.2)
    one_step_correlation, one_step_success = learn(next_state_sample=1.0)
    assert correlation > 0.8 and success > 0.8
    assert one_step_correlation < correlation and one_step_success < success - 0.2
    assert math.isfinite(one_step_correlation)
