"""The shipped policy places the cube in held-out scenes; a broken bundle cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.closed_loop.evaluate import EvaluationSettings, evaluate
from mqe_core.images import squash_resize
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.goals import read_goal
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.scene import SimScene

BRINGUP = Path(__file__).parents[2] / "ros2_ws" / "src" / "mqe_bringup"
POLICY = BRINGUP / "policies" / "widowx_sim.onnx"


def test_it_places_the_cube_in_most_of_a_few_held_out_scenes():
    # docs/results.md says of how many; a policy that has learned nothing places none.
    outcome = evaluate(POLICY, load_robot_spec(), EvaluationSettings("place1", 6, 300), progress=False)
    assert sum(episode.success for episode in outcome.outcomes) >= 4


def test_it_opens_the_drawer_and_puts_the_object_in():
    outcome = evaluate(POLICY, load_robot_spec(), EvaluationSettings("drawer_place", 3, 300), progress=False)
    assert sum(episode.score for episode in outcome.outcomes) >= 4  # of 6: at least one scene with both


def test_it_is_small_fits_the_robot_and_says_how_far_the_goal_is():
    bundle = PolicyBundle.open(POLICY, load_robot_spec())
    assert POLICY.stat().st_size < 20e6
    assert bundle.contract.domain == "sim" and bundle.has_steps_to_goal


def test_it_refuses_goals_of_other_scenes_and_none_of_the_own() -> None:
    """docs/bundle.md says how many; a policy that tells no scenes refuses none."""
    spec, bundle = load_robot_spec(), PolicyBundle.open(POLICY)
    limit, size = bundle.contract.unreachable_steps, bundle.contract.image_size
    assert limit is not None
    seen, wanted = [], []
    for seed in range(FIRST_EVALUATION_SEED + 300, FIRST_EVALUATION_SEED + 305):
        scene = SimScene(spec, "place4", seed)
        seen.append(squash_resize(scene.render(640, 480), size))
        wanted.append(squash_resize(scene.goal, size))
        scene.close()
    steps = np.array([bundle.run(np.stack([picture] * 5), np.stack(wanted))["steps_to_goal"] for picture in seen])
    own = np.eye(5, dtype=bool)
    assert steps[own].max() < limit and (steps[~own] > limit).sum() >= 5  # of 20, at the first frame alone


@pytest.mark.parametrize(
    ("name", "task"), [("place", "place1"), ("drawer_place", "drawer_place"), ("place4", "place4")]
)
def test_the_shipped_goals_show_held_out_scenes(name: str, task: str):
    goal = read_goal(BRINGUP / "goals" / f"{name}.png")
    assert (goal.task, goal.domain) == (task, "sim") and goal.seed >= FIRST_EVALUATION_SEED


@pytest.mark.slow
@pytest.mark.parametrize(("task", "least"), [("place1", 88), ("drawer_place", 180)])
def test_it_does_as_well_on_100_scenes_as_the_results_say(task: str, least: int):
    """Another processor's rounding changes single episodes."""
    outcome = evaluate(POLICY, load_robot_spec(), EvaluationSettings(task, 100), workers=2, progress=False)
    assert sum(episode.score for episode in outcome.outcomes) >= least
