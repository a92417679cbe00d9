"""The scripted expert solves its task by contact and friction alone."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.spec import load_robot_spec
from mqe_sim.collect import FIRST_EVALUATION_SEED, run_oracle
from mqe_sim.world import World


def score_of(seeds) -> list[float]:
    world = World(load_robot_spec())
    scores = [run_oracle(world, "place1", seed, size=None)["score"] for seed in seeds]
    world.close()
    return scores


def test_the_oracle_places_the_cube():
    scores = score_of(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 10))
    assert sum(scores) >= 9


@pytest.mark.slow
def test_the_oracle_places_at_least_98_of_100():
    assert sum(score_of(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 100))) >= 98


def test_a_demonstration_is_shaped_like_bridge_data():
    world = World(load_robot_spec())
    record = run_oracle(world, "place1", 0, size=(32, 24))
    world.close()
    steps = len(record["actions"])
    assert record["actions"].shape == (steps, 7) and record["full_state"].shape == (steps + 1, 7)
    assert len(record["images"]) == steps + 1 and record["images"][0].shape == (24, 32, 3)
    np.testing.assert_allclose(np.diff(record["time_stamp"]), 0.2, atol=1e-9)
    assert set(np.unique(record["actions"][:, 6])) == {0.0, 1.0}
    assert record["actions"][-1, 6] == 1.0  # retreats with the gripper open
    assert np.abs(record["actions"][:, :3]).max() <= 0.05
