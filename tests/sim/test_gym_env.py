"""The tasks as Gymnasium environments: Gymnasium's own checker, the promised observations, actions and rewards."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.gym_env import WidowXEnv
from mqe_sim.tasks import TASKS


@pytest.mark.parametrize("name", sorted(TASKS))
def test_gymnasium_s_checker_passes_every_task(name):
    env = gymnasium.make(f"mqe/WidowX-{name}-v0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()
    # The one advice that is not taken: physical units instead of actions in [-1, 1].
    assert [w for w in caught if "symmetric and normalized" not in str(w.message)] == []


def test_state_observations_hold_the_arm_and_the_things():
    env = WidowXEnv("place2", observation="state")
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(options={"scene": 3})
    assert observation["observation"].shape == observation["goal"].shape == (7 + 12,)
    # In the goal every object is over its target, which has not moved.
    objects, targets = observation["goal"][7:13].reshape(2, 3), observation["goal"][13:].reshape(2, 3)
    np.testing.assert_allclose(objects[:, :2], targets[:, :2], atol=3e-3)
    np.testing.assert_allclose(observation["observation"][13:], observation["goal"][13:], atol=3e-3)
    env.close()


def test_pixels_are_the_policy_s_size_and_rendering_the_sensor_s():
    env = gymnasium.make("mqe/WidowX-reach-v0", image_size=128, render_mode="rgb_array")
    observation, info = env.reset(options={"scene": 4})
    assert observation["observation"].shape == observation["goal"].shape == (128, 128, 3)
    assert info["scene"] == 4 and env.render().shape == (480, 640, 3)
    env.close()


def test_a_reached_goal_is_rewarded_and_ends_the_episode():
    env = WidowXEnv("reach", observation="state")
    observation, _ = env.reset(options={"scene": 1})
    rewards, terminated = [], False
    while not terminated and len(rewards) < 40:
        way = observation["goal"][:3] - observation["observation"][:3]
        action = np.array([*np.clip(way, -0.03, 0.03), 0, 0, 0, 1.0], dtype=np.float32)
        observation, reward, terminated, _, info = env.step(action)
        rewards.append(reward)
    assert terminated and info["is_success"] and sum(rewards) == 1.0
    env.close()


def test_the_safety_filter_stands_between_the_action_and_the_arm():
    env = WidowXEnv("reach", observation="state")
    env.reset(options={"scene": 1})
    *_, info = env.step(np.array([0.2, 0, 0, 0, 0, 0, 1.0], dtype=np.float32))
    assert "translation_step" in info["clipped"]
    env.close()


def test_episodes_are_truncated_and_repeat_by_seed():
    env = WidowXEnv("reach", observation="state")
    still = np.array([0, 0, 0, 0, 0, 0, 1.0], dtype=np.float32)
    first, _ = env.reset(seed=7)
    steps = 0
    while not env.step(still)[3]:
        steps += 1
    assert steps == 39
    again, _ = env.reset(seed=7)
    np.testing.assert_array_equal(first["observation"], again["observation"])
    other, info = env.reset(seed=8)
    assert not np.array_equal(first["goal"], other["goal"]) and info["scene"] < FIRST_EVALUATION_SEED
    env.close()


def test_unknown_tasks_and_observations_are_refused():
    with pytest.raises(ValueError, match="known: .*drawer_open"):
        WidowXEnv("fold")
    with pytest.raises(ValueError, match="pixels, state"):
        WidowXEnv("reach", observation="sound")
