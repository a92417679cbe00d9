"""Promise: `intervention_weight` begins more rows at an operator's frames, so many times as many, and does no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionIndex
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer
from mqe_core.robot.ranks import OPERATOR, POLICY

DRAWS = 40_000
ENDS = np.array([6, 14, 20])
VALID = np.ones(20, dtype=bool)
VALID[ENDS - 1] = False
WEIGHTS = np.ones(20)
WEIGHTS[8:12] = 5.0


def shares(drawn: np.ndarray) -> np.ndarray:
    """(20,): how often each frame was drawn, in all 1."""
    return np.bincount(drawn, minlength=20) / len(drawn)


@pytest.mark.parametrize("scenes", [0, 4000])
def test_frames_are_drawn_by_their_weights(scenes: int) -> None:
    transitions = TransitionIndex(VALID, ENDS, weights=WEIGHTS)
    drawn = transitions.draw(np.random.default_rng(0), DRAWS, scenes)
    wanted = VALID * WEIGHTS / (VALID * WEIGHTS).sum()
    np.testing.assert_allclose(shares(drawn), wanted, atol=0.015)
    assert VALID[drawn].all()


def test_weights_that_are_all_alike_draw_as_none(tmp_path: Path) -> None:
    alike = TransitionIndex(VALID, ENDS, weights=np.full(20, 3.0))
    np.testing.assert_allclose(shares(alike.draw(np.random.default_rng(0), DRAWS)), VALID / VALID.sum(), atol=0.01)


def test_goals_from_anywhere_are_drawn_without_weights() -> None:
    anywhere = GoalMixture(trajectory=0.0, random=1.0)
    goals = [
        TransitionIndex(VALID, ENDS, weights=weights).mixed_goals(
            np.random.default_rng(1), np.zeros(100, int), anywhere
        )
        for weights in (None, WEIGHTS)
    ]
    np.testing.assert_array_equal(*goals)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """An episode of a policy, and one that an operator took over."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        for name, commanders in (("a", (POLICY,) * 6), ("b", (POLICY,) * 2 + (OPERATOR,) * 4)):
            frames = {0: [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(6)]}
            numbers = rng.normal(size=(6, 7)), rng.normal(size=(5, 7))
            writer.add(Episode(name, *numbers, frames, commanders=commanders))
    return EpisodeStore.open(tmp_path / "store")


def test_an_operators_frames_begin_more_rows(store: EpisodeStore, tiny_config: Callable[..., RunConfig]) -> None:
    plain, weighted = (
        Trainer(store, tiny_config(observation="state", **keys), progress=False).data.transitions
        for keys in ({}, {"intervention_weight": 4.0})
    )
    rng = np.random.default_rng(0)
    assert store.operated[plain.draw(rng, DRAWS)].mean() == pytest.approx(3 / 10, abs=0.02)
    assert store.operated[weighted.draw(rng, DRAWS)].mean() == pytest.approx(12 / 19, abs=0.02)


def test_a_store_without_interventions_is_told(
    synthetic_store: Path, tiny_config: Callable[..., RunConfig], caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(observation="state", intervention_weight=4.0)
    Trainer(EpisodeStore.open(synthetic_store), config, progress=False)
    assert "intervention_weight is idle" in caplog.text


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_a_weight_that_is_none_is_refused(tiny_config: Callable[..., RunConfig], weight: float) -> None:
    with pytest.raises(ValueError, match="intervention_weight"):
        tiny_config(intervention_weight=weight)
