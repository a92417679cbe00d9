"""benchmarks/critic_chunks.py: its rows lie where they should, its critic learns, and it measures what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="training is not installed: make learn")
pytest.importorskip("pybullet")
import torch

from benchmarks import critic_chunks, critic_questions, critic_reads, offset_probe, table_states
from mqe_core.learning.agents.mqe import MQEConfig
from mqe_core.learning.rows.actions import ActionScale

SCALE = ActionScale(np.full(7, -1.0, np.float32), np.full(7, 1.0, np.float32))
LENGTH = 12


@pytest.fixture
def rows() -> critic_chunks.Rows:
    """Six episodes, two of a scene; the first feature counts the steps that are left."""
    features = torch.zeros(6 * LENGTH, 4)
    features[:, 0] = torch.arange(LENGTH - 1, -1, -1.0).repeat(6)
    actions = torch.rand(6 * LENGTH, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    starts = np.arange(0, 6 * LENGTH, LENGTH)
    return critic_chunks.Rows(features, actions, starts, starts + LENGTH, np.repeat([0, 1, 2], 2 * LENGTH))


def test_no_chunk_leaves_its_episode(rows) -> None:
    begins = rows.begins(np.array([1, 4]), chunk=5)
    assert begins.tolist() == [*range(LENGTH, 2 * LENGTH - 5), *range(4 * LENGTH, 5 * LENGTH - 5)]
    chunks = rows.chunks(begins[:1], 5)
    assert torch.equal(chunks[0], rows.actions[LENGTH : LENGTH + 5].flatten())


@pytest.mark.parametrize("shortest", [0.0, 0.5, 1.0])
def test_waypoints_lie_a_chunk_ahead_or_at_a_goal_that_is_nearer(shortest) -> None:
    rng, frames, last = np.random.default_rng(0), np.zeros(1000, int), np.full(1000, 11)
    waypoints, goals = critic_chunks.draw(rng, frames, last, chunk=4, discount=0.9, lambda_=0.8, shortest=shortest)
    assert ((1 <= goals) & (goals <= last)).all() and (waypoints <= goals).all()
    assert (waypoints >= np.minimum(4, goals)).all()
    assert (goals < 4).any(), "some goals are nearer"
    assert (waypoints > 4).any() == (shortest < 1.0)


CONFIG = MQEConfig(discount=0.9, lambda_=0.8, diagonal_weight=0.9, hidden_dims=(32,), latent_dim=32)
SCENES = [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]


@pytest.mark.parametrize("weights", [{}, {"goal_contrast": 1.0, "scene_contrast": 0.1}])
def test_a_critic_of_chunks_learns_how_many_steps_are_left(rows, weights) -> None:
    agent, _ = critic_chunks.train(rows, SCENES, replace(CONFIG, **weights), 2, steps=60, seed=0)
    far, near = (
        critic_chunks.distances(agent, rows.features[t], np.zeros((1, 2, 7)), rows.features[LENGTH - 1])[0]
        for t in (0, LENGTH - 3)
    )
    assert far > near + 1.0


@pytest.mark.parametrize("cloning", [False, True])
def test_the_own_chunk_is_the_nearest(rows, cloning) -> None:
    """By the contrast over actions, and by the mean that is the control."""
    side = torch.tensor([1.0, -1.0]).repeat(3).repeat_interleave(LENGTH)
    rows.features[:, 1] = side
    rows.actions[:] = side[:, None]
    agent, clone = critic_chunks.train(rows, SCENES, replace(CONFIG, action_contrast=1.0), 2, 60, 0, cloning)
    ask = critic_chunks.asks(agent, clone, SCALE, cloning)
    chunks = np.stack([np.ones((2, 7)), -np.ones((2, 7))])
    for start in rows.starts[:2]:
        own, opposite = ask(rows.features[start], chunks * side[start].item(), rows.features[start + LENGTH - 1])
        assert own < opposite


def test_the_columns_tell_a_critic_that_reads_the_goal_from_one_that_knows_the_habit() -> None:
    rng = np.random.default_rng(0)
    actions = np.concatenate([np.full((10, 6), 0.02), np.ones((10, 1))], axis=1)
    of_stages = np.stack([actions - [0.04, 0, 0, 0, 0, 0, 0], actions], axis=1)
    own, other = torch.zeros(3), torch.ones(3)
    features = torch.from_numpy(rng.normal(size=(11, 3)).astype(np.float32))
    features[-1] = own  # the goal
    stage = critic_questions.Stage(("place2", 0), 1, features, actions, of_stages, np.ones(10), {0: other})
    recorded = np.repeat(actions[:1] + rng.normal(0, 0.01, (100, 7)), 2, axis=0).reshape(100, 2, 7)
    near = critic_questions.neighbours([stage], torch.from_numpy(rng.normal(size=(100, 3)).astype(np.float32)), 2)
    assert near[0].shape == (9, critic_questions.NEIGHBOURS)

    def reading(state, chunks, goal) -> np.ndarray:
        wanted = actions[0] if torch.equal(goal, own) else of_stages[0, 0]
        return np.abs(chunks - wanted).sum(axis=(1, 2))

    def habitual(state, chunks, goal) -> np.ndarray:
        return np.abs(chunks - actions[0]).sum(axis=(1, 2))

    for ask, swapped in ((reading, 1.0), (habitual, 0.0)):
        found = critic_questions.judge(ask, 2, stage, recorded[near[0]])
        assert set(found["object"]) == {1.0} and set(found["gripper"]) == {1.0}
        assert set(found["swapped"]) == {swapped}
        assert np.mean(found["best"]) <= np.mean(found["chosen"]) < np.mean(found["random"])


def test_a_critic_that_knows_its_scene_and_its_steps_is_told_so() -> None:
    """Frames hold their scene and their time in it; goals of other scenes are a thousand steps away."""

    def episode(scene: int, first: int) -> torch.Tensor:
        return torch.stack([torch.full((20,), float(scene)), torch.arange(first, first + 20.0)], dim=1)

    scenes = {("place2", scene): [episode(scene, 0), episode(scene, 20)] for scene in range(3)}

    def distance(s: torch.Tensor, g: torch.Tensor) -> np.ndarray:
        return (1000 * (s[:, 0] != g[:, 0]) + (g[:, 1] - s[:, 1])).numpy()

    for found in critic_questions.reach(distance, scenes).values():
        assert found["roc"] == 1.0
        assert found["rank"] == pytest.approx(1.0) and found["chain"] == pytest.approx(1.0)
    for found in critic_questions.reach(lambda s, g: np.zeros(len(s)), scenes).values():
        assert found == {"roc": 0.5, "rank": 0.0, "chain": 0.0}


def test_a_thing_lies_then_is_carried_then_lies_on_its_target() -> None:
    """Also where the record begins with the thing in the hand."""
    hands = np.zeros((8, 7))
    hands[:, 0], hands[:, 6] = np.arange(8.0), [1, 1, 0, 0, 0, 1, 1, 1]
    target = np.array([4.5, 0.0, 0.0])
    assert table_states.way(hands, target)[:, 0].tolist() == [2.5, 2.5, 2.5, 3.5, 4.5, 4.5, 4.5, 4.5]
    assert table_states.way(hands[3:], target)[:, 0].tolist() == [3.5, 4.5, 4.5, 4.5, 4.5]
    hands[2, 2] = 0.01
    assert table_states.way(hands, target)[:2, 2].tolist() == [0.0, 0.0], "its height does not tell which one it is"
    assert table_states.way(hands[5:], target)[:, 0].tolist() == [4.5] * 3


def test_a_probe_finds_what_is_in_the_features_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    inputs, held_out = rng.normal(size=(400, 8)), np.arange(400) % 5 == 0
    inside, blind = offset_probe.error_mm(inputs, 0.05 * inputs[:, :2], held_out)
    assert inside < 1 < 30 < blind
    outside, blind = offset_probe.error_mm(inputs, 0.05 * rng.normal(size=(400, 2)), held_out)
    assert outside == pytest.approx(blind, rel=0.2)


def test_what_a_critic_reads_of_an_action_is_told_apart() -> None:
    rng, left = np.random.default_rng(0), np.arange(8.0)
    base = rng.normal(size=(2, 5, 1, 3))  # of states and goals: no action in it
    clock = np.broadcast_to(base + left[:, None], (2, 5, 8, 3))
    goal, state, members, correlation = critic_reads.shares(clock, left)
    assert goal == pytest.approx(0, abs=1e-9) and state == pytest.approx(0, abs=1e-9)
    assert members == pytest.approx(1) and correlation == pytest.approx(1)
    of_goal = np.broadcast_to(rng.choice([-1.0, 1.0], 8)[:, None] * np.array([1.0, 0.0, -1.0]), (2, 5, 8, 3))
    assert critic_reads.shares(of_goal, left)[0] == pytest.approx(1)
    apart = rng.normal(size=(2, 50, 8, 1)) + np.zeros(3)
    assert abs(critic_reads.shares(apart, left)[2]) < 0.3
