"""The instruments, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.ogbench.critics import action_value, distance
from mqe_core.ogbench.instruments import measure, pairs_of_cells, rank_correlation
from mqe_core.ogbench.mazes import Maze

MAZE = Maze.of_text("#######\n#.....#\n#.###.#\n#.....#\n#######")
PAIRS = pairs_of_cells(MAZE, count=80)


def true_distance(observations, goals):
    return np.array([MAZE.steps_to(MAZE.cell_at(g))[MAZE.cell_at(s)] for s, g in zip(observations, goals)], float)


def true_way(observations, goals):
    cells = [MAZE.next_cells(MAZE.cell_at(s), MAZE.cell_at(g))[0] for s, g in zip(observations, goals)]
    return np.stack([MAZE.position(cell) for cell in cells]) - observations


def likes_the_way(observations, goals, actions):
    return (true_way(observations, goals) * actions).sum(1)


def figures(**known):
    given = {"action": None, "distance": None, "action_value": None, **known}
    return measure(MAZE, PAIRS, lambda positions: positions.astype(np.float32), **given)


def test_one_who_knows_the_maze_scores_one() -> None:
    found = figures(action=true_way, distance=true_distance, action_value=likes_the_way)
    assert found.rank_correlation == pytest.approx(1.0) and found.actor_cosine == pytest.approx(1.0)
    assert found.critic_cosine > 0.99  # of 32 directions


def test_the_opposite_scores_as_low_as_can_be() -> None:
    """Where two ways are as long, the opposite of one may be the other's side: a cosine of 0 or more."""
    found = figures(
        action=lambda s, g: -true_way(s, g),
        distance=lambda s, g: -true_distance(s, g),
        action_value=lambda s, g, a: -likes_the_way(s, g, a),
    )
    assert found.rank_correlation == pytest.approx(-1.0)
    assert found.actor_cosine < -0.85 and found.critic_cosine < -0.85


def test_noise_scores_nothing() -> None:
    rng = np.random.default_rng(0)
    many = pairs_of_cells(MAZE, count=3000)
    found = measure(
        MAZE,
        many,
        lambda positions: positions.astype(np.float32),
        action=lambda s, g: rng.normal(size=(len(s), 2)),
        distance=lambda s, g: rng.normal(size=len(s)),
        action_value=lambda s, g, a: rng.normal(size=len(s)),
    )
    assert abs(found.rank_correlation) < 0.06
    assert -0.05 < found.actor_cosine < 0.15 and -0.05 < found.critic_cosine < 0.15  # the better of two ways counts


def test_a_value_alone_is_asked_one_move_ahead() -> None:
    """As a crow flies: right in the open, where the way is straight, and its cosine is known everywhere."""
    found = figures(action=true_way, distance=lambda s, g: np.linalg.norm(s - g, axis=1))
    crow = [
        (MAZE.position(g) - MAZE.position(s)) / np.linalg.norm(MAZE.position(g) - MAZE.position(s)) for s, g in PAIRS
    ]
    best = [
        max(float(way @ (MAZE.position(cell) - MAZE.position(s))) / MAZE.unit for cell in MAZE.next_cells(s, g))
        for (s, g), way in zip(PAIRS, crow)
    ]
    assert found.critic_cosine == pytest.approx(np.mean(best), abs=0.05)


def test_what_an_agent_lacks_is_absent() -> None:
    assert figures() == figures().__class__(None, None, None)
    found = figures(action=true_way)
    assert found.rank_correlation is None and found.critic_cosine is None and found.actor_cosine is not None


def test_rank_correlation_is_spearmans() -> None:
    a, b = np.array([1.0, 2.0, 2.0, 5.0, 9.0]), np.array([3.0, 1.0, 4.0, 10.0, 8.0])
    # Ranks 1, 2.5, 2.5, 4, 5 and 2, 1, 3, 5, 4.
    assert rank_correlation(a, b) == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4, 5], [2, 1, 3, 5, 4])[0, 1])
    assert rank_correlation(np.exp(a), b) == pytest.approx(rank_correlation(a, b))
    assert rank_correlation(a, np.ones(5)) == 0.0


def test_pairs_are_the_same_each_time_and_apart() -> None:
    assert pairs_of_cells(MAZE, 50) == pairs_of_cells(MAZE, 50) != pairs_of_cells(MAZE, 50, seed=1)
    assert all(start != goal for start, goal in pairs_of_cells(MAZE, 200))


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_says_what_it_knows(name: str) -> None:
    values = {"agent": name, "hidden_dims": [16], "latent_dim": 16, "representation_dim": 4}
    config = make_config(keys_for(name, values))
    torch.manual_seed(0)
    agent = AGENTS[name][0](config.agent, ObservationSpec("state", state_dim=2), 2, None)
    observations, goals, actions = (torch.randn(6, 2) for _ in range(3))
    value, apart = action_value(agent, observations, goals, actions), distance(agent, observations, goals)
    assert (value is None) == (name in ("gcbc", "gcivl", "hiql", "tra"))
    assert (apart is None) == (name in ("gcbc", "tra"))
    assert value is None or (value.shape == (6,) and value.std() > 0)
    assert apart is None or apart.shape == (6,)
