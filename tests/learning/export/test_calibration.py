"""The measures of steps_to_goal by hand, and thresholds of a store whose distances are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.export.calibration import (
    MIN_EPISODES,
    calibrate,
    longest_stall,
    rank_correlation,
    separate,
)

LENGTH, SIZE = 20, 8


def test_rank_correlation_of_any_rising_function_is_one_and_ties_share_a_rank() -> None:
    x = np.arange(10.0)
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1.0)
    assert rank_correlation(x, -(x**3)) == pytest.approx(-1.0)
    assert rank_correlation(x, np.ones(10)) == 0.0
    assert rank_correlation(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(0.9486833)


def test_the_threshold_has_the_least_error() -> None:
    reached, missed, false = separate(np.array([0.1, 0.2, 0.3, 9.0]), np.array([0.25, 5.0, 6.0, 7.0]))
    assert (reached, missed, false) == (0.2, 0.5, 0.0) or (reached, missed, false) == (0.3, 0.25, 0.25)
    assert separate(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == (2.0, 0.0, 0.0)


def test_the_longest_stall_ends_where_the_goal_is_reached() -> None:
    assert longest_stall(np.array([10.0, 10.0, 9.9, 5.0, 5.0, 0.1, 0.1, 0.1, 0.1]), reached=0.5) == 2
    assert longest_stall(np.array([3.0, 2.0, 1.0]), reached=0.5) == 0


@pytest.fixture()
def store(tmp_path: Path) -> EpisodeStore:
    """Episode e, frame t: an image of value (e, t, 0), so that a stand-in for a critic can read off both."""
    with EpisodeWriter(tmp_path / "store", image_size=SIZE, domain="sim") as writer:
        for number in range(2 * MIN_EPISODES):
            images = np.zeros((LENGTH, SIZE, SIZE, 3), np.uint8)
            images[..., 0], images[..., 1] = 10 * number, 10 * np.arange(LENGTH)[:, None, None]
            writer.add(Episode(f"episode{number}", np.zeros((LENGTH, 7)), np.zeros((LENGTH - 1, 7)), {0: list(images)}))
    return EpisodeStore.open(tmp_path / "store")


def read_off(observations: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """From each observation to each goal, (g, n): steps between two frames of one episode, 50 more between episodes."""
    episode, step = (np.rint(observations.astype(float).mean((1, 2))[:, i] / 10) for i in range(2))
    goal_episode, goal_step = (np.rint(goals.astype(float).mean((1, 2))[:, [i]] / 10) for i in range(2))
    return np.abs(goal_step - step) + 50.0 * (np.abs(episode - goal_episode) > 0.5)


def test_a_perfect_critic_gets_perfect_figures(store: EpisodeStore) -> None:
    result = calibrate(read_off, store, 0, 0.5, seed=0)
    assert result.metrics["calibration/rank_correlation"] == pytest.approx(1.0)
    assert result.metrics["calibration/roc_area"] == 1.0
    assert result.metrics["calibration/episodes"] == MIN_EPISODES
    assert 3.0 <= result.reached_steps < 8.0 and result.stall_commands == 1
    assert (result.metrics["calibration/reached_missed"], result.metrics["calibration/reached_false"]) == (0.0, 0.0)
    assert result.metrics["calibration/scenes"] == MIN_EPISODES and result.unreachable_steps is None
    assert result.why_not_refused == "10 held-out scenes are too few for a threshold, 299 are needed"


def test_a_critic_that_does_not_tell_near_from_far_gets_figures_but_no_thresholds(store: EpisodeStore) -> None:
    def blind(observations: np.ndarray, goals: np.ndarray) -> np.ndarray:
        return read_off(observations, goals) % 3

    result = calibrate(blind, store, 0, 0.5, seed=0)
    assert result.reached_steps is None and result.stall_commands is None
    assert result.metrics["calibration/reached_missed"] + result.metrics["calibration/reached_false"] > 0.2


def test_too_few_held_out_episodes_give_no_thresholds(store: EpisodeStore) -> None:
    assert calibrate(read_off, store, 0, 0.1, seed=0) is None
    assert calibrate(read_off, store, 0, 0.0, seed=0) is None
