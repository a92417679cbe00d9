"""Every index rule of the goal sampler has the stated distribution and never leaves its episode."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.learning.rows.goal_sampling import GoalMixture, TransitionIndex, WaypointSampler

ENDS = np.array([9, 11, 24])  # episodes of 9, 2 and 13 frames
DRAWS = 200_000


@pytest.fixture()
def transitions() -> TransitionIndex:
    valid = np.ones(ENDS[-1], dtype=bool)
    valid[ENDS - 1] = False
    return TransitionIndex(valid, ENDS)


def final(t: int) -> int:
    """The last valid frame of t's episode: the one before its last."""
    return int(ENDS[np.searchsorted(ENDS, t, side="right")]) - 2


def geometric_law(steps: int, discount: float) -> np.ndarray:
    """Probabilities of offsets 0..steps of ``min(Geom(1 - discount), steps)``, one at a time."""
    law = np.zeros(steps + 1)
    for k in range(1, 5000):
        law[min(k, steps)] += (1 - discount) * discount ** (k - 1)
    return law


def assert_law(samples: np.ndarray, law: np.ndarray) -> None:
    """Every observed frequency is within five standard errors of its probability, and nothing else occurs."""
    assert law.sum() == pytest.approx(1.0, abs=1e-9)
    counts = np.bincount(samples, minlength=len(law))
    assert len(counts) == len(law), "an offset outside the law's support was drawn"
    error = np.abs(counts / len(samples) - law)
    assert (error <= 5 * np.sqrt(law * (1 - law) / len(samples)) + 1e-12).all(), (counts / len(samples), law)


def test_transitions_are_uniform_over_valid_frames(transitions: TransitionIndex) -> None:
    drawn = transitions.draw(np.random.default_rng(0), DRAWS)
    law = np.full(ENDS[-1] - 1, 1 / 21)  # the very last frame, 23, is never drawn
    law[[8, 10]] = 0.0
    assert_law(drawn, law)


@pytest.mark.parametrize("t", [0, 5, 7, 9, 15])
@pytest.mark.parametrize("discount", [0.5, 0.95])
def test_geometric_goals(transitions: TransitionIndex, t: int, discount: float) -> None:
    goals = transitions.geometric_goals(np.random.default_rng(1), np.full(DRAWS, t), discount)
    assert_law(goals - t, geometric_law(final(t) - t, discount))


@pytest.mark.parametrize("t", [0, 5, 6, 7, 9, 15])
def test_uniform_goals(transitions: TransitionIndex, t: int) -> None:
    """Both ends of [t + 1, final] have half the weight of what lies between; at the last valid frame the goal is the
    frame.
    """
    goals = transitions.uniform_goals(np.random.default_rng(2), np.full(DRAWS, t))
    first, last = min(t + 1, final(t)), final(t)
    law = np.zeros(last - t + 1)
    if first == last:
        law[last - t] = 1.0
    else:
        law[first - t : last - t + 1] = 1 / (last - first)
        law[[first - t, last - t]] /= 2
    assert_law(goals - t, law)


def test_mixture_goals(transitions: TransitionIndex) -> None:
    t, mixture = 15, GoalMixture(current=0.2, trajectory=0.5, random=0.3, discount=0.7)
    goals = transitions.mixed_goals(np.random.default_rng(3), np.full(DRAWS, t), mixture)
    law = np.zeros(ENDS[-1] - 1)
    law[transitions.indices] += 0.3 / len(transitions.indices)
    law[t : final(t) + 1] += 0.5 * geometric_law(final(t) - t, 0.7)
    law[t] += 0.2
    assert_law(goals, law)


def test_a_mixture_of_current_goals_only_is_the_frame_itself(transitions: TransitionIndex) -> None:
    t = transitions.indices
    goals = transitions.mixed_goals(np.random.default_rng(0), t, GoalMixture(1.0, 0.0, 0.0))
    np.testing.assert_array_equal(goals, t)


def test_a_mixture_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        GoalMixture(0.5, 0.2, 0.2)


@pytest.mark.parametrize("next_state_sample", [0.0, 0.3, 1.0])
def test_waypoints(transitions: TransitionIndex, next_state_sample: float) -> None:
    """Given the goal offset K, k = min(Geom(1 - lambda), K), or 1 with probability p; the joint law, from first
    principles.
    """
    sampler = WaypointSampler(discount=0.8, lambda_=0.6, next_state_sample=next_state_sample)
    rows = sampler.sample(transitions, np.random.default_rng(4), 40 * DRAWS // 10)
    t = 15
    chosen = rows.observation == t
    steps_left = final(t) - t
    goal_law = geometric_law(steps_left, 0.8)
    for goal_steps in (1, 2, 5, steps_left):
        waypoint_steps = rows.steps_to("waypoint")[chosen & (rows.steps_to("value_goal") == goal_steps)]
        law = np.zeros(goal_steps + 1)
        law += (1 - next_state_sample) * geometric_law(goal_steps, 0.6)
        law[1] += next_state_sample
        assert_law(waypoint_steps, law)
    assert_law(rows.steps_to("value_goal")[chosen], goal_law)


def test_waypoint_and_goal_draws_are_independent(transitions: TransitionIndex) -> None:
    """Among rows whose goal is at least 4 ahead, k in {1, 2, 3} has the law of an independent geometric draw."""
    rows = WaypointSampler(0.8, 0.6, 0.0).sample(transitions, np.random.default_rng(5), DRAWS)
    steps = rows.steps_to("waypoint")[rows.steps_to("value_goal") >= 4]
    for k in (1, 2, 3):
        assert np.mean(steps == k) == pytest.approx(0.4 * 0.6 ** (k - 1), abs=5 * np.sqrt(0.25 / len(steps)))


def test_nothing_crosses_an_episode_end(transitions: TransitionIndex) -> None:
    mixture = GoalMixture(0.1, 0.9, 0.0)
    rows = WaypointSampler(0.95, 0.95, 0.2, mixture).sample(transitions, np.random.default_rng(6), DRAWS)
    episode = np.searchsorted(ENDS, rows.observation, side="right")
    for name in ("waypoint", "value_goal", "actor_goal"):
        frames = rows.frames[name]
        np.testing.assert_array_equal(np.searchsorted(ENDS, frames, side="right"), episode, err_msg=name)
        assert (frames >= rows.observation).all(), name
    for name in ("value_goal", "actor_goal"):
        assert not np.isin(rows.frames[name], ENDS - 1).any(), "an episode's last frame is never a goal"
    # It is a waypoint only as the next observation of the last transition.
    at_last_frame = np.isin(rows.frames["waypoint"], ENDS - 1)
    assert at_last_frame.any()
    assert (rows.steps_to("waypoint")[at_last_frame] == 1).all()
    assert (rows.frames["waypoint"][~at_last_frame] <= rows.frames["value_goal"][~at_last_frame]).all()


def test_episodes_without_valid_frames_are_left_out() -> None:
    """Held-out episodes are invalid throughout; the others keep their own last frames."""
    valid = np.ones(ENDS[-1], dtype=bool)
    valid[ENDS - 1] = False
    valid[:9] = False
    transitions = TransitionIndex(valid, ENDS)
    rows = WaypointSampler(0.9, 0.9, 0.2, GoalMixture(0.0, 0.5, 0.5)).sample(
        transitions, np.random.default_rng(7), 5000
    )
    for frames in rows.frames.values():
        assert frames.min() >= 9
    assert rows.frames["value_goal"].max() == 22


@pytest.mark.parametrize(
    "valid, ends, message",
    [
        ([True, False], [3], "end at the number of frames"),
        ([True, True], [2], "has no successor"),
        ([False, False], [2], "no transition"),
        ([True, False, False], [2, 2, 3], "increase strictly"),
    ],
)
def test_inconsistent_data_is_refused(valid: list[bool], ends: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransitionIndex(np.array(valid), np.array(ends))


def test_scene_goals_are_where_this_and_later_episodes_on_the_table_end() -> None:
    """Four episodes, the first three of one scene; the last frame of each has no action."""
    ends = np.array([4, 8, 12, 16])
    valid = np.ones(16, dtype=bool)
    valid[ends - 1] = False
    transitions = TransitionIndex(valid, ends, scene_ends=np.array([12, 16]))
    goals = transitions.scene_goals(np.random.default_rng(0), np.full(DRAWS, 1))
    assert_law(goals, np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]) / 3)
    assert set(transitions.scene_goals(np.random.default_rng(0), np.full(100, 5))) == {6, 10}
    assert set(transitions.scene_goals(np.random.default_rng(0), np.full(100, 10))) == {10}
    assert set(transitions.scene_goals(np.random.default_rng(0), np.full(100, 12))) == {14}
    alone = TransitionIndex(valid, ends)
    assert set(alone.scene_goals(np.random.default_rng(0), np.full(100, 1))) == {2}


def test_stopping_frames_meet_no_goal_of_a_later_episode() -> None:
    """Neither one of their own nor, crossed, another row's; that of their own episode they keep."""
    ends, stopping = np.array([4, 8]), np.zeros(8, dtype=bool)
    valid = np.ones(8, dtype=bool)
    valid[ends - 1] = False
    stopping[[1, 2]] = True
    transitions = TransitionIndex(valid, ends, scene_ends=np.array([8]), stopping=stopping)
    rng = np.random.default_rng(0)
    assert [set(transitions.scene_goals(rng, np.full(100, t))) for t in (0, 1, 2, 5)] == [{2, 6}, {2}, {2}, {6}]
    t, goals = np.array([0, 1, 4]), np.array([2, 2, 6])
    pairs = {(int(t[row]), int(goals[goal])) for row, goal in transitions.crossed_pairs(t, goals)}
    assert pairs == {(0, 2), (0, 6), (1, 2), (4, 6)}


def test_a_mixture_with_scene_goals_has_its_shares() -> None:
    ends = np.array([4, 8])
    valid = np.ones(8, dtype=bool)
    valid[ends - 1] = False
    transitions = TransitionIndex(valid, ends, scene_ends=np.array([8]))
    mixture = GoalMixture(current=0.2, trajectory=0.3, scene=0.5)
    goals = transitions.mixed_goals(np.random.default_rng(0), np.full(DRAWS, 1), mixture)
    assert_law(goals, np.array([0, 0.2, 0.3 + 0.25, 0, 0, 0, 0.25]))


def test_a_batch_of_few_scenes_still_draws_every_frame_equally() -> None:
    ends, scenes = np.array([4, 8, 20]), np.array([8, 20])
    valid = np.ones(20, dtype=bool)
    valid[ends - 1] = False
    transitions = TransitionIndex(valid, ends, scene_ends=scenes)
    rng = np.random.default_rng(0)
    batches = np.array([transitions.draw(rng, 6, scenes=1) for _ in range(20_000)])
    assert (np.ptp(np.searchsorted(scenes, batches, side="right"), axis=1) == 0).all()
    law = valid / valid.sum()
    frequencies = np.bincount(batches[:, 0], minlength=20) / len(batches)
    assert (np.abs(frequencies - law) <= 5 * np.sqrt(law / len(batches))).all()
    two = transitions.draw(rng, 400, scenes=2)
    assert set(two) <= set(np.flatnonzero(valid))


def test_crossed_pairs_equal_the_obvious_version() -> None:
    """Two scenes of two episodes: later goals of a row's own scene, each picture once, and its own goal whatever it
    is.
    """
    ends = np.array([5, 9, 16, 20])
    valid = np.ones(20, dtype=bool)
    valid[ends - 1] = False
    transitions = TransitionIndex(valid, ends, scene_ends=np.array([9, 20]))
    mixture = GoalMixture(current=0.1, trajectory=0.3, random=0.1, scene=0.5)
    rows = WaypointSampler(0.9, 0.5, 0.2, mixture).sample(transitions, np.random.default_rng(0), 40)
    pairs = transitions.crossed_pairs(rows.observation, rows.frames["actor_goal"])
    scene = [0 if frame < 9 else 1 for frame in range(20)]
    expected = set()
    for row, t in enumerate(rows.observation):
        for goal in set(rows.frames["actor_goal"].tolist()):
            if goal == rows.frames["actor_goal"][row] or (scene[goal] == scene[t] and goal > t):
                expected.add((row, int(goal)))
    assert {(int(row), int(rows.frames["actor_goal"][goal])) for row, goal in pairs} == expected
    assert len(pairs) == len(expected), "each picture once"
    assert len({int(column) for column in pairs[:, 1]}) == len(set(rows.frames["actor_goal"].tolist()))
