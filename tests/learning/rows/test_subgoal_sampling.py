"""Rows with frames some steps ahead end with the episode and at their goal."""

from __future__ import annotations

import numpy as np

from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionIndex
from mqe_core.learning.rows.subgoal_sampling import NStepSampler, SubgoalSampler

# Two episodes, of 12 and of 6 frames: the last frame of each has no action, and the one before is its last goal.
TRANSITIONS = TransitionIndex(np.array([True] * 11 + [False] + [True] * 5 + [False]), np.array([12, 18]))


def test_a_backup_ends_at_the_goal_or_with_the_episode() -> None:
    sampler = NStepSampler(GoalMixture(0.2, 0.5, 0.3), GoalMixture(0.0, 0.5, 0.5, discount=0.9), steps=4)
    rows = sampler.sample(TRANSITIONS, np.random.default_rng(0), 5_000)
    seen = set()
    for t, end, goal in zip(rows.observation, rows.frames["n_step"], rows.frames["value_goal"]):
        final = 10 if t < 12 else 16
        expected = min(t + 4, final)
        if t <= goal < expected:
            expected = goal
        assert end == expected
        seen.add((end == goal, end == final, end - t))
    assert {(True, False, 0), (False, True, 0), (False, False, 4), (True, False, 2), (True, True, 3)} <= seen


def test_subgoals_end_with_the_episode_and_waypoints_at_their_goal() -> None:
    sampler = SubgoalSampler(GoalMixture(0.2, 0.5, 0.3, discount=0.9), GoalMixture(0.0, 0.5, 0.5), steps=3)
    rows = sampler.sample(TRANSITIONS, np.random.default_rng(0), 5_000)
    t, goal = rows.observation, rows.frames["actor_goal"]
    final = np.where(t < 12, 10, 16)
    assert (rows.frames["next_observation"] == t + 1).all()
    np.testing.assert_array_equal(rows.frames["subgoal"], np.minimum(t + 3, final))
    ahead = (t <= goal) & (goal <= final)
    assert 0.3 < ahead.mean() < 1.0
    np.testing.assert_array_equal(rows.frames["waypoint"][ahead], np.minimum(t + 3, goal)[ahead])
    np.testing.assert_array_equal(rows.frames["waypoint"][~ahead], np.minimum(t + 3, final)[~ahead])
