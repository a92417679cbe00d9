"""The shipped policy places the cube in held-out scenes; a broken bundle cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from mqe_core.bundle import PolicyBundle
from mqe_core.evaluate import evaluate
from mqe_core.goals import read_goal
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED
from mqe_core.spec import load_robot_spec

BRINGUP = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_bringup"
POLICY = BRINGUP / "policies" / "widowx_sim.onnx"


def test_it_places_the_cube_in_most_of_a_few_held_out_scenes():
    # It places 98 of 100 (docs/results.md); a policy that has learned nothing, none.
    outcome = evaluate(POLICY, load_robot_spec(), "place1", 8, 300, progress=False)
    assert sum(episode.success for episode in outcome.outcomes) >= 6


def test_it_is_small_fits_the_robot_and_says_how_far_the_goal_is():
    bundle = PolicyBundle.open(POLICY, load_robot_spec())
    assert POLICY.stat().st_size < 20e6
    assert bundle.contract.domain == "sim" and bundle.has_steps_to_goal


def test_the_shipped_goal_shows_a_held_out_scene():
    goal = read_goal(BRINGUP / "goals" / "place.png")
    assert goal.task == "place1" and goal.seed >= FIRST_EVALUATION_SEED
    assert goal.domain == "sim"


@pytest.mark.slow
def test_it_places_as_many_of_100_as_the_results_say():
    """98 were placed where it was measured; another processor's rounding changes single episodes."""
    outcome = evaluate(POLICY, load_robot_spec(), "place1", 100, 0, workers=2, progress=False)
    assert 93 <= sum(episode.success for episode in outcome.outcomes)
