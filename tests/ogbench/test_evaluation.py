"""OGBench's protocol, on environments of our own: the package is not needed here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mqe_core.ogbench import evaluation
from mqe_core.ogbench.evaluation import Evaluator, overall
from mqe_core.ogbench.names import parse_name

LENGTH = 30  # steps of an episode


class Line:
    """A point on a line. The goal lies `task` ahead of the start, which is drawn; success within 0.05 ends it."""

    num_tasks = 3
    observation_space = SimpleNamespace(shape=(1,))
    action_space = SimpleNamespace(shape=(1,), seed=lambda seed: None)

    @property
    def unwrapped(self) -> Line:
        return self

    def reset(self, seed: int, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self.at = np.random.default_rng(seed).uniform() + 10 * np.random.uniform()
        self.goal, self.steps = self.at + options["task_id"], 0
        return np.array([self.at]), {"goal": np.array([self.goal])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert -1.0 <= action[0] <= 1.0
        self.at += 0.1 * float(action[0])
        self.steps += 1
        success = abs(self.at - self.goal) < 0.05
        return np.array([self.at]), 0.0, success, self.steps == LENGTH, {"success": float(success)}


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    monkeypatch.setattr(evaluation, "make_environment", lambda name: Line())
    return Evaluator(parse_name("pointmaze-medium-stitch-v0"), episodes=7, seed=3)


def towards(observations, goals):
    return 50.0 * (goals - observations)  # clipped to a step of 0.1


def away(observations, goals):
    return observations - goals


def test_tasks_are_solved_in_as_many_steps_as_they_are_long(evaluator: Evaluator) -> None:
    outcomes = evaluator(towards)
    assert [outcome.task for outcome in outcomes] == [1, 2, 3]
    assert all(outcome.success.all() for outcome in outcomes) and overall(outcomes) == 1.0
    assert [set(outcome.steps) for outcome in outcomes] == [{10}, {20}, {30}]


def test_failures_last_to_the_end(evaluator: Evaluator) -> None:
    outcomes = evaluator(away)
    assert overall(outcomes) == 0.0 and all((outcome.steps == LENGTH).all() for outcome in outcomes)


def test_every_step_asks_the_policy_once_for_all_that_are_under_way(evaluator: Evaluator) -> None:
    asked: list[int] = []

    def half(observations, goals):
        """The first episodes go towards, others away."""
        asked.append(len(observations))
        assert observations.dtype == np.float32 and goals.dtype == np.float32
        return np.where(goals < np.median(first), towards(observations, goals), away(observations, goals))

    first: list[float] = []

    def noted(observations, goals):
        first.extend(goals[:, 0])
        return 0 * goals

    evaluator.task(noted, 1)
    del first[7:]  # goals of the first step
    outcome = evaluator.task(half, 1)
    assert len(asked) == LENGTH and asked[:10] == [7] * 10 and asked[10:] == [4] * 20
    assert outcome.success.sum() == 3 and outcome.rate == pytest.approx(3 / 7)


def test_the_seed_gives_the_same_episodes_and_numpys_generator_is_left_alone(evaluator: Evaluator) -> None:
    seen: list[np.ndarray] = []

    def record(observations, goals):
        seen.append(goals.copy())
        return towards(observations, goals)

    np.random.seed(1)
    evaluator.task(record, 1)
    np.testing.assert_array_equal(np.random.uniform(size=3), np.random.RandomState(1).uniform(size=3))
    evaluator.task(record, 1)
    np.testing.assert_array_equal(seen[0], seen[10])
    assert len(np.unique(seen[0])) == 7
    evaluator.seed = 4
    evaluator.task(record, 1)
    assert not np.isin(seen[-1], seen[0]).any()


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        Evaluator(parse_name("pointmaze-medium-stitch-v0"), episodes=0)
