"""OnnxPolicy: images of any size through the one resize path, clear errors, the goal prepared once."""

from __future__ import annotations

import numpy as np
import pytest

from mqe_core.images import squash_resize
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime.onnx_policy import OnnxPolicy


@pytest.fixture(scope="module")
def policy(make_bundle) -> OnnxPolicy:
    return OnnxPolicy(PolicyBundle.open(make_bundle(), threads=2))


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_camera_images_pass_the_resize_path_of_training(policy) -> None:
    observation, goal = picture(0, 120, 160), picture(1, 90, 200)
    output = policy.act(observation, goal)
    small = squash_resize(observation, 32), squash_resize(goal, 32)
    expected = policy.bundle.run(small[0][None], small[1][None])
    np.testing.assert_array_equal(output.action, expected["action"][0])
    assert output.steps_to_goal == float(expected["steps_to_goal"][0])
    assert output.action.shape == (7,) and output.action.dtype == np.float32


def test_a_goal_is_resized_once_and_changes_are_noticed(policy, monkeypatch) -> None:
    import mqe_core.runtime.policy_images as module

    calls = []

    def counted(image, size):
        calls.append(image.shape)
        return squash_resize(image, size)

    monkeypatch.setattr(module, "squash_resize", counted)
    observation, goal = picture(0, 60, 80), picture(1, 66, 88)
    first = policy.act(observation, goal).steps_to_goal
    policy.act(observation, goal.copy())
    assert calls.count((66, 88, 3)) == 1 and calls.count((60, 80, 3)) == 2
    goal[:] = 255 - goal  # changed in place
    assert policy.act(observation, goal).steps_to_goal != first


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        None,
    ],
)
def test_anything_but_an_rgb_image_is_refused_by_name(policy, bad) -> None:
    good = picture(0, 8, 8)
    with pytest.raises(ValueError, match=r"observation: expected an RGB image \(H, W, 3\) uint8"):
        policy.act(bad, good)
    with pytest.raises(ValueError, match="goal: expected an RGB image"):
        policy.act(good, bad)


def test_no_critic_no_distance(make_bundle) -> None:
    policy = OnnxPolicy(PolicyBundle.open(make_bundle(with_steps=False)))
    assert policy.act(picture(0, 8, 8), picture(1, 8, 8)).steps_to_goal is None


def test_the_gripper_rule_is_the_contracts(make_bundle) -> None:
    rule = OnnxPolicy(PolicyBundle.open(make_bundle(gripper_threshold=0.3, gripper_steps=2))).gripper_rule()
    assert [rule(g) for g in (0.4, 0.2, 0.2)] == [1.0, 1.0, 0.0]


def test_threads_must_be_positive(make_bundle) -> None:
    with pytest.raises(ValueError, match="threads"):
        PolicyBundle.open(make_bundle(), threads=0)
