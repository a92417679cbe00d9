"""benchmarks/chain_reads.py and true_states_ahead.py: what is left is reckoned rightly, and a way ahead is followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed: make learn")
pytest.importorskip("pybullet")

import torch

from benchmarks import chain_reads, true_states, true_states_ahead
from benchmarks.chain_reads import along, judged, steps_left
from benchmarks.true_states_ahead import EVERY, Planner, StateModel
from benchmarks.true_states_methods import Method, load, train
from mqe_core.learning.export.calibration import rank_correlation
from mqe_core.policy.contract import NONE_CHOSEN

TARGETS = np.array([[0.30, 0.10, 0.0], [0.30, -0.10, 0.0]])
ASIDE = TARGETS + [0.0, 0.05, 0.02]
ABOVE = np.array([0.0, 0.0, 0.1])


def state(hand, things, opening: float = 1.0) -> np.ndarray:
    """(1, 19): hand at a point, things at theirs."""
    return np.concatenate([hand, np.zeros(3), [opening], np.ravel(things), TARGETS.ravel()])[None]


def test_what_is_left_falls_on_the_way_through_a_stage() -> None:
    """Over the first thing, at it, holding it, over its target, there; then for the second."""
    first, second, lifted = ASIDE.copy(), ASIDE.copy(), ASIDE.copy()
    first[0], lifted[0] = TARGETS[0] + [0, 0, 0.02], ASIDE[0] + ABOVE
    second[:] = TARGETS + [0, 0, 0.02]
    over = first.copy()
    over[0] += ABOVE
    way = [
        state([0.20, 0.0, 0.20], ASIDE),
        state(ASIDE[0] + ABOVE, ASIDE),
        state(ASIDE[0], ASIDE),
        state(ASIDE[0], ASIDE, opening=0.5),
        state(lifted[0], lifted, opening=0.5),
        state(over[0], over, opening=0.5),
        state(first[0], first, opening=0.5),
        state(first[0] + ABOVE, first),
        state(ASIDE[1] + ABOVE, first),
        state(ASIDE[1], first),
    ]
    left = steps_left(np.concatenate(way))
    assert (np.diff(left) < 0).all(), left
    assert steps_left(state([0.2, 0.0, 0.2], second)) == 0.0
    between = state([0.30, 0.05, 0.1], ASIDE)
    assert steps_left(between) > left[1], "between the things is no progress"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> true_states.TrueStates:
    """Three scenes."""
    folder = tmp_path_factory.mktemp("states")
    for seed in (0, 1, 2):
        true_states.collect(folder, "place2", seed)
    return true_states.TrueStates(folder)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory) -> Path:
    """Weights of runs of two updates, and of a model of a hundred."""
    out, patch = tmp_path_factory.mktemp("runs"), pytest.MonkeyPatch()
    patch.setattr(true_states_ahead, "_UPDATES", 100)
    for run in ("blind", "critic", "critic gciql"):
        train(data, run, 0, 2, out)
    _, scale = load(data, "blind", 0, out)
    true_states_ahead.train_model(data, scale.normalise(data.actions), 0, out / "model-0.pt")
    patch.undo()
    return out


def test_what_is_left_agrees_with_the_demonstrations(data) -> None:
    begins = np.concatenate([[0], data.episode_ends[:-1]])
    ways = [data.states[begin:end, : data.width] for begin, end in zip(begins, data.episode_ends)]
    falls = [rank_correlation(steps_left(way), np.arange(len(way), 0, -1)) for way in ways]
    assert np.mean(falls) > 0.8, falls


def test_along_a_chain_a_perfect_distance_is_told_as_such() -> None:
    """States are their times; the second stage begins where the first one ended."""
    first, second = (np.arange(a, a + 30, dtype=np.float32)[:, None] for a in (0, 29))
    found = along(lambda states, goal: np.abs(states - goal)[:, 0].astype(float), [first, second])
    assert found["rank"] == 1.0 and found["chain"] > 0.99 and found["seam"] == 0.0
    assert [found["start"], found["between"], found["end"]] == [58.0, 29.0, 0.0]
    assert all(found[f"{name} {steps}"] == 1.0 for name in ("own", "chain") for steps in chain_reads.STEPS_LATER)
    still = along(lambda states, goal: np.zeros(len(states)), [first, second])
    assert still["own 5"] == still["chain 20"] == 0.0


def test_a_model_moves_what_moves_and_learns_to(data, folder) -> None:
    _, scale = load(data, "blind", 0, folder)
    model = true_states_ahead.train_model(data, np.empty((0, 7)), 0, folder / "model-0.pt")  # read, not trained
    begins = np.flatnonzero(data.valid)
    actions = torch.from_numpy(scale.normalise(data.actions))[torch.from_numpy(begins)]
    before, after = (data.states[begins + i, : data.width].astype(float) for i in (0, 1))
    told = model(before, actions)
    np.testing.assert_array_equal(told[:, model.moving :], before[:, model.moving :])
    error, untold = (np.linalg.norm(x[:, :3] - after[:, :3], axis=1).mean() for x in (told, before))
    assert error < 0.6 * untold
    assert StateModel(data).moving == 13


def test_the_way_that_ends_nearest_is_followed(data, folder, monkeypatch) -> None:
    """Here the nearest end is the one with the highest hand."""
    planner = Planner(data, Method("blind", "ahead", "critic", 8, horizon=EVERY + 2), 0, folder)
    asked = []

    def highest(agent, states, goal):
        asked.append(states)
        return -states[:, 2].astype(float)

    monkeypatch.setattr(true_states_ahead, "steps_between", highest)
    now, goal = data.states[0], data.states[data.episode_ends[0] - 1]
    last, rng, plans = NONE_CHOSEN, np.random.default_rng(0), []
    for _ in range(EVERY):
        answer = planner.act(now, goal, last, np.zeros(7), rng)
        last = answer.chosen
        plans.append(planner._plan)
    (ends,) = [states for states in asked if len(states) == 8]
    assert len(plans[0]) == EVERY + 1 and len(plans[-1]) == 2, "what is left of the way is kept"
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((EVERY + 2, 8, 7)).astype(np.float32))
    assert torch.equal(plans[0], noise[1:, int(ends[:, 2].argmax())])
    planner.act(now, goal, last, np.zeros(7), rng)
    assert sum(len(states) == 8 for states in asked) == 2, "and then it is chosen anew"
    planner.act(now, goal, NONE_CHOSEN, np.zeros(7), rng)
    assert sum(len(states) == 8 for states in asked) == 3, "as in a new scene"


def test_futures_are_judged_by_what_is_left_after_them(data, folder, monkeypatch) -> None:
    agent, _ = load(data, "critic gciql", 0, folder)
    flow = load(data, "blind", 0, folder)[0].actor
    goal = data.states[data.episode_ends[0] - 1, : data.width].astype(float)
    states = np.repeat(np.concatenate([state([0.20 + 0.01 * i, 0.0, 0.2], ASIDE) for i in range(8)])[None], 41, axis=0)
    true_left = lambda agent, seen, goal: steps_left(seen[:, : data.width])  # noqa: E731
    monkeypatch.setattr(chain_reads, "steps_between", true_left)
    found = judged(agent, flow, goal, np.zeros((40, 8, 7), np.float32), states)
    assert found["right 20"] == 1.0 and found["gain 20"] == pytest.approx(found["best 20"]) and found["best 20"] > 0
    monkeypatch.setattr(chain_reads, "steps_between", lambda *args: -true_left(*args))
    assert judged(agent, flow, goal, np.zeros((40, 8, 7), np.float32), states)["right 20"] == 0.0


def test_any_way_is_followed_as_long_and_asks_no_critic(data, folder, monkeypatch) -> None:
    monkeypatch.setattr(true_states_ahead, "steps_between", lambda *args: pytest.fail("nobody is asked"))
    planner = Planner(data, Method("blind", "ahead", None, 8, EVERY + 2), 0, folder)
    noise = np.random.default_rng(0).standard_normal((EVERY + 2, 8, 7)).astype(np.float32)
    planner.act(data.states[0], data.states[5], NONE_CHOSEN, np.zeros(7), np.random.default_rng(0))
    assert len(planner._plan) == EVERY + 1
    assert any(np.array_equal(planner._plan.numpy(), noise[1:, i]) for i in range(8))
