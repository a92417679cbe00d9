"""Promise: each row of the ablation table of MQE's paper is a configuration, and draws and minimises what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.ogbench_plan import ABLATED_KEYS
from mqe_core.learning.agents.mqe import MQEConfig, critic_loss
from mqe_core.learning.networks.values import expectile_pairs
from mqe_core.learning.quasimetric import mrn_distance_matrix
from mqe_core.learning.rows.goal_sampling import GoalIndices, TransitionIndex
from mqe_core.learning.run.run_config import RunConfig

DRAWS = 100_000
FRAMES = 202  # one long episode: with gamma 0.98 nearly no goal is capped
TRANSITIONS = TransitionIndex(np.array([True] * (FRAMES - 1) + [False]), np.array([FRAMES]))

ROWS: dict[str, dict[str, Any]] = {"full MQE": {"next_state_sample": 0.2}, **ABLATED_KEYS}


def law(row: str, goal_steps: int) -> np.ndarray:
    """Probabilities of the waypoint's steps 0..K for a goal that is K ahead, from the table's words."""
    probabilities = np.zeros(goal_steps + 1)
    for steps in range(1, 2000):
        geometric = 0.05 * 0.95 ** (steps - 1)
        chance = {
            "waypoint Unif[1, K]": float(steps <= goal_steps) / goal_steps,
            "waypoint Unif[1, 50]": float(steps <= 50) / 50,
            "waypoint 50": float(steps == 50),
            "waypoint 1": float(steps == 1),
            "full MQE": 0.8 * geometric + 0.2 * (steps == 1),
        }.get(row, geometric)
        probabilities[min(steps, goal_steps)] += chance
    return probabilities


def drawn(row: str) -> GoalIndices:
    config = MQEConfig(discount=0.98, **ROWS[row])
    return config.sampler().sample(TRANSITIONS, np.random.default_rng(0), DRAWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row.startswith(("waypoint", "full"))])
def test_waypoints_have_the_law_of_their_row(row: str) -> None:
    rows = drawn(row)
    goal_steps, steps = rows.steps_to("value_goal"), rows.steps_to("waypoint")
    for goal in (1, 2, 5, 20, 60):
        found = steps[goal_steps == goal]
        expected = law(row, goal)
        assert expected.sum() == pytest.approx(1.0) and len(found) > 200
        counts = np.bincount(found, minlength=goal + 1)
        assert len(counts) == goal + 1, "a waypoint past its goal"
        error = np.abs(counts / len(found) - expected)
        assert (error <= 5 * np.sqrt(np.abs(expected * (1 - expected)) / len(found)) + 1e-12).all()


@pytest.mark.parametrize("row", ROWS)
def test_no_waypoint_leaves_its_way(row: str) -> None:
    """At the last transition the goal is the frame itself, and so is the waypoint, or else it is the next one."""
    rows = drawn(row)
    t, waypoint, goal = rows.observation, rows.frames["waypoint"], rows.frames["value_goal"]
    next_one = waypoint == t + 1
    assert ((t <= waypoint) & ((waypoint <= goal) | next_one)).all() and waypoint.max() <= FRAMES - 1
    one_step = ROWS[row].get("next_state_sample", 0.2)
    at_end = waypoint[goal == t] - t[goal == t]
    assert at_end.mean() == pytest.approx(one_step, abs=0.15) if 0 < one_step < 1 else set(at_end) == {int(one_step)}


def test_the_expectile_regresses_v_on_q() -> None:
    """|kappa - 1(Q < V)| (Q - V)^2, V = exp(-d(s, g)), Q without gradient; and the pairs weigh as in the backup."""
    d_state, d_action = torch.tensor([[[1.0, 2.0]]]).requires_grad_(), torch.tensor([[[2.0, 1.0]]]).requires_grad_()
    pairs = expectile_pairs(d_state, d_action, 0.7)
    value, q = (-d_state).exp(), (-d_action).exp()
    torch.testing.assert_close(pairs, torch.tensor([[[0.3, 0.7]]]) * (q - value).square())
    pairs.sum().backward()
    assert d_action.grad is None and (d_state.grad != 0).all()

    generator = torch.Generator().manual_seed(0)
    phi, psi_s, psi_w, psi_g = (torch.randn(2, 6, 16, generator=generator) for _ in range(4))
    known: dict[str, Any] = {"components": 2, "discount": 0.9, "linex_clip": 5.0, "diagonal_weight": 0.3}
    steps = torch.ones(6)
    loss, metrics = critic_loss(phi, psi_s, psi_w, psi_g, steps, expectile=0.9, **known)
    pairs = expectile_pairs(mrn_distance_matrix(psi_s, psi_g, 2), mrn_distance_matrix(phi, psi_g, 2), 0.9)
    expected = 0.7 * pairs.mean() + 0.3 * pairs.diagonal(dim1=1, dim2=2).mean()
    torch.testing.assert_close(metrics["expectile_loss"], expected)
    torch.testing.assert_close(loss, metrics["backup_loss"] + expected)
    assert "action_invariance_loss" not in metrics
    without, metrics = critic_loss(phi, psi_s, psi_w, psi_g, steps, invariance_weight=0.0, **known)
    torch.testing.assert_close(without, metrics["backup_loss"])


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_a_configuration(row: str, tiny_config: Callable[..., RunConfig]) -> None:
    config = tiny_config(agent="mqe", **ROWS[row]).agent
    assert {name: getattr(config, name) for name in ROWS[row]} == ROWS[row]


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"waypoint": "fixed"}, "needs waypoint_steps"),
        ({"waypoint_steps": 5}, "is of waypoint: uniform and fixed"),
        ({"waypoint": "uniform", "waypoint_steps": -1}, "must not be negative"),
        ({"waypoint": "next"}, "waypoint must be one of geometric, uniform, fixed"),
        ({"expectile": 1.0}, r"expectile must lie in \[0, 1\)"),
    ],
)
def test_what_is_no_ablation_is_refused(
    keys: dict[str, object], message: str, tiny_config: Callable[..., RunConfig]
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config(agent="mqe", **keys)
