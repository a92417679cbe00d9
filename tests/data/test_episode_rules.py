"""What an import makes of an episode besides its units."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.data.episode_rules import EpisodeRules, binarize, hashed_split, reached_actions
from mqe_core.robot.geometry import apply_action, pose_to_state, state_to_pose
from tests.data.made_episodes import made_episode


def test_without_rules_an_episode_stays_as_it_is() -> None:
    episode = made_episode(0)
    assert EpisodeRules()(episode) is episode


def test_reached_actions_bring_the_controller_from_each_pose_to_the_next() -> None:
    states = np.random.default_rng(0).uniform(-1, 1, (6, 7))
    reached = reached_actions(states, np.full((5, 7), 0.5), euler=False)
    for t in range(5):
        pose = state_to_pose(states[t])
        np.testing.assert_allclose(apply_action(pose, reached[t], pose), state_to_pose(states[t + 1]), atol=1e-9)
    assert (reached[:, 6] == 0.5).all()


def test_euler_differences_are_wrapped_and_agree_at_yaw_zero_only() -> None:
    states = np.zeros((2, 7))
    states[0, 5], states[1, 5] = 3.1, -3.1
    np.testing.assert_allclose(reached_actions(states, np.zeros((1, 7)), euler=True)[0, 5], 2 * np.pi - 6.2)
    before = state_to_pose(np.array([0.3, 0, 0.1, 0, 0, 1.0, 1]))
    roll = np.array([0, 0, 0, 0.1, 0, 0, 1])  # about the axis of the base, the hand at yaw 1 rad
    states = np.stack([pose_to_state(pose, 1.0) for pose in (before, apply_action(before, roll, before))])
    euler, controller = (reached_actions(states, roll[None], euler=flag)[0] for flag in (True, False))
    np.testing.assert_allclose(controller, roll, atol=1e-9)
    np.testing.assert_allclose(euler[3:6], [0.054, -0.084, -0.002], atol=5e-4)


@pytest.mark.parametrize(
    ("gripper", "expected"),
    [
        ([1.0, 0.5, 0.0, 0.3, 0.96], [1, 0, 0, 1, 1]),
        ([0.5, 0.5], [0.5, 0.5]),
        ([0.04, 0.5, 0.3], [0, 0.3, 0.3]),
        ([0.95, 0.05, 0.0], [0, 0, 0]),
    ],
)
def test_grippers_between_take_the_next_decided_value(gripper, expected) -> None:
    np.testing.assert_array_equal(binarize(np.array(gripper)), expected)


def test_first_and_last_frames_are_left_out_with_their_images() -> None:
    episode = made_episode(0, num_frames=6)
    cut = EpisodeRules(drop_first=1, drop_last=2)(episode)
    np.testing.assert_array_equal(cut.states, episode.states[1:4])
    np.testing.assert_array_equal(cut.actions, episode.actions[1:3])
    np.testing.assert_array_equal(cut.images[0], episode.images[0][1:4])
    with pytest.raises(ValueError, match="fewer than 2 are left"):
        EpisodeRules(drop_first=3, drop_last=2)(episode)


def test_a_split_by_the_names_hash_is_stable_and_of_the_asked_share() -> None:
    names = [f"day/traj{k}" for k in range(4000)]
    of_val = [hashed_split(name, 0.1) == "val" for name in names]
    assert 0.08 < np.mean(of_val) < 0.12
    wider = [hashed_split(name, 0.2) == "val" for name in names]
    assert all(b for a, b in zip(of_val, wider) if a)  # a larger share takes none out
    assert [hashed_split(name, 0.5) for name in ("a", "b", "c", "d")] == ["val", "train", "val", "train"]
    assert EpisodeRules(val_share=0.0, split="val")(made_episode(0)) is None


@pytest.mark.parametrize(
    "wrong", [{"drop_first": -1}, {"val_share": 1.5}, {"val_share": float("nan")}, {"actions": "x"}]
)
def test_wrong_rules_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="expected"):
        EpisodeRules(**wrong)
