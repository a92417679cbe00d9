"""Promise: goals are refused only where the critic tells other scenes' goals, and then few that can be reached."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.export import reach_calibration
from mqe_core.learning.export.calibration import calibrate
from mqe_core.learning.export.reach_calibration import (
    Pair,
    calibrate_reach,
    fewest_scenes,
    hardest,
    most_beyond,
    roc_area,
)
from mqe_core.policy.reachability import UNREACHABLE, Reachability

STAGES, LENGTH, SIZE = 2, 12, 8
ENOUGH = 299


def test_roc_area_is_the_probability_of_the_right_order() -> None:
    lower, higher = np.array([1.0, 2.0, 5.0]), np.array([2.0, 4.0])
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in lower for b in higher]
    assert roc_area(lower, higher) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("scenes", [298, 299, 472, 473, 1000])
def test_the_number_beyond_the_threshold_is_the_binomial_bound(scenes: int) -> None:
    def doubt(k: int) -> float:
        return sum(math.comb(scenes, i) * 0.01**i * 0.99 ** (scenes - i) for i in range(k + 1))

    beyond = most_beyond(scenes)
    if beyond is None:
        assert doubt(0) > 0.05
    else:
        assert doubt(beyond) <= 0.05 < doubt(beyond + 1)
    assert fewest_scenes() == ENOUGH


@pytest.mark.parametrize("seed", range(20))
def test_the_hardest_answer_is_the_least_threshold_that_refuses_nothing(seed: int) -> None:
    """Held against the rule of the robot, with its first picture seen again and again until the arm may move."""
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 6, size=rng.integers(1, 12)).astype(float)

    def refuses(threshold: float) -> bool:
        rule = Reachability(threshold)
        return UNREACHABLE in [rule.update(d) for d in (distance[0], distance[0], *distance)]

    least = hardest(distance)
    assert not refuses(least) and (least == 0 or refuses(least - 0.5))


def scenes_of(reachable: np.ndarray, other: float | None) -> list[list[Pair]]:
    """Scenes of one pair, whose distances are constant."""
    counts = np.ones(5, bool)
    return [[Pair(np.full(5, r), None if other is None else np.full(5, other), counts)] for r in reachable]


def test_a_critic_that_tells_gets_a_threshold_and_its_figures() -> None:
    result = calibrate_reach(scenes_of(np.arange(473.0), other=471.5))
    assert result.unreachable_steps == 471.0 and result.why_off is None
    assert result.metrics["calibration/refused_scenes"] == pytest.approx(1 / 473)
    assert result.metrics["calibration/refused_other"] == 1.0 and result.metrics["calibration/roc_area"] > 0.99


@pytest.mark.parametrize(
    ("scenes", "why"),
    [
        (scenes_of(np.arange(400.0), other=200.0), "does not tell other scenes' goals (ROC area 0.50 over 400"),
        (scenes_of(np.arange(298.0), other=999.0), "298 held-out scenes are too few for a threshold, 299 are needed"),
        (scenes_of(np.arange(1.0), other=None), "all of one scene"),
    ],
    ids=["blind", "few", "one"],
)
def test_otherwise_nothing_is_refused_and_it_says_why(scenes: list[list[Pair]], why: str) -> None:
    result = calibrate_reach(scenes)
    assert result.unreachable_steps is None
    assert result.why_off is not None and why in result.why_off


def test_one_scene_far_off_does_not_raise_the_threshold_of_all() -> None:
    """One pair of a scene counts for the whole scene, once."""
    scenes = scenes_of(np.ones(473), other=99.0)
    scenes[7] += [Pair(np.full(5, 50.0), np.full(5, 99.0), np.ones(5, bool))] * 40
    assert calibrate_reach(scenes).unreachable_steps == 1.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    """Scene s, stage e, frame t: an image of value (s, e, t). A scene is a dated folder of two episodes."""
    path = tmp_path_factory.mktemp("scenes") / "store"
    with EpisodeWriter(path, image_size=SIZE, domain="sim") as writer:
        for scene in range(10):
            for stage in range(STAGES):
                images = np.zeros((LENGTH, SIZE, SIZE, 3), np.uint8)
                images[..., 0], images[..., 1] = 20 * scene, 20 * stage
                images[..., 2] = 20 * np.arange(LENGTH)[:, None, None]
                name = f"task/2026-01-01_00-{scene:02d}-00/raw/traj_group0/traj{stage}"
                writer.add(Episode(name, np.zeros((LENGTH, 7)), np.zeros((LENGTH - 1, 7)), {0: list(images)}))
    return EpisodeStore.open(path)


def read_off(observations: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """From each observation to each goal, (g, n): frames on the way, a later stage included; -1 to an earlier stage;
    1000 more to another scene.
    """
    scene, stage, step = np.rint(observations.astype(float).mean((1, 2)) / 20).T
    goal_scene, goal_stage, goal_step = np.rint(goals.astype(float).mean((1, 2)) / 20).T[..., None]
    way = goal_step - step + LENGTH * (goal_stage - stage)
    return np.where(goal_stage < stage, -1.0, way + 1000.0 * (scene != goal_scene))


def test_a_later_stage_of_the_scene_counts_as_reachable_and_an_earlier_one_as_nothing(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach_calibration, "MOST_REFUSED", 0.3)
    result = calibrate(read_off, store, 0, 1.0, seed=0)
    assert result.metrics["calibration/scenes"] == 10 and result.metrics["calibration/episodes"] == 20
    assert result.metrics["calibration/roc_area"] == 1.0 and result.metrics["calibration/refused_other"] == 1.0
    assert result.unreachable_steps == STAGES * LENGTH - 1  # from the first frame to the last stage's end


def test_held_out_episodes_of_one_scene_have_no_roc_area(tmp_path: Path, store: EpisodeStore) -> None:
    path = tmp_path / "one"
    with EpisodeWriter(path, image_size=SIZE, domain="sim") as writer:
        for stage in range(10):
            frames = list(store.images(np.arange(LENGTH)))
            name = f"task/2026-01-01_00-00-00/raw/traj_group0/traj{stage}"
            writer.add(Episode(name, np.zeros((LENGTH, 7)), np.zeros((LENGTH - 1, 7)), {0: frames}))
    result = calibrate(read_off, EpisodeStore.open(path), 0, 1.0, seed=0)
    assert "calibration/roc_area" not in result.metrics and result.why_not_refused is not None
