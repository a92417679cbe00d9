"""Promise: goals of other scenes become far, steps to those of the own scene stay the critic's, and nothing else learns
anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.export.export import export_run
from mqe_core.learning.networks import scene_distance
from mqe_core.learning.networks.scene_distance import SceneDistance
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.train import train
from mqe_core.learning.run.trainer import Trainer
from tests.learning.networks.scene_stores import store_of

Config = Callable[..., RunConfig]
KEYS = {"observation": "state", "validation_fraction": 0.0}


def agent_of(trainer: Trainer) -> MQEAgent:
    assert isinstance(trainer.agent, MQEAgent)
    return trainer.agent


def batch_of(trainer: Trainer) -> Batch:
    return trainer.data.sample(np.random.default_rng(0), trainer.agent.frames)


def test_it_moves_no_other_network(tmp_path: Path, tiny_config: Config) -> None:
    store = store_of(tmp_path / "store", 4)
    plain, beside = (Trainer(store, tiny_config(**KEYS, scene_distance=told), progress=False) for told in (False, True))
    (loss, metrics), (other, more) = (trainer.agent.loss(batch_of(trainer)) for trainer in (plain, beside))
    assert more.keys() - metrics.keys() == {"critic/scene_distance"}
    assert other.item() == pytest.approx(loss.item() + more["critic/scene_distance"].item(), rel=1e-5)
    loss.backward(), other.backward()
    without = dict(plain.agent.named_parameters())
    for name, parameter in beside.agent.named_parameters():
        if name in without:
            torch.testing.assert_close(parameter.grad, without[name].grad)
        else:
            assert name.startswith("scenes.") and parameter.grad is not None and parameter.grad.isfinite().all()


def test_goals_of_other_scenes_become_far_and_those_of_the_own_do_not(tmp_path: Path, tiny_config: Config) -> None:
    keys = {**KEYS, "scene_distance": True, "learning_rate": 3e-3, "batch_size": 32, "batch_scenes": 8}
    trainer = Trainer(store_of(tmp_path / "store", 16), tiny_config(**keys), progress=False)
    for _ in range(150):
        trainer.update()
    agent, frames = agent_of(trainer).eval(), np.arange(16 * 16)  # 16 frames of each scene
    assert agent.scenes is not None
    states, own, added = trainer.data.observations.take(frames), [], []
    with torch.no_grad():
        features = agent.critic_encoder(states)
        for scene in range(16):
            goal = features[16 * scene + 15].expand_as(features)  # where the scene ends
            critic = agent.head(agent.psi(features), agent.psi(goal)).mean(0) / -np.log(agent.config.discount)
            scenes = agent.scenes(features, goal)
            told = agent.steps_to_goal(states, states[16 * scene + 15].expand_as(states))
            torch.testing.assert_close(told, torch.maximum(critic, scenes))
            own.append(torch.from_numpy(frames // 16 == scene))
            added.append(scenes)
    here, steps = torch.stack(own), torch.stack(added)
    assert (steps[here] == 0.0).float().mean() > 0.99, "what is far of the own scene is the critic's to tell"
    assert (steps[~here] > 0.0).float().mean() > 0.9


def test_pictures_so_near_that_they_may_be_of_one_scene_are_no_steps_apart() -> None:
    torch.manual_seed(0)
    told, features = SceneDistance(2, 5, [8]), torch.randn(6, 5)
    assert torch.equal(told(features, features.flip(0)), torch.zeros(6)), "it has seen no scenes yet"
    same = torch.eye(6, dtype=torch.bool)
    told.loss(features, features.flip(0), same, torch.zeros_like)
    apart = told.network(features)[:, :, None] - told.network(features.flip(0))[:, None]
    nats = (apart.square().mean(-1).sqrt() / 0.1).mean(0)
    assert told.of_one.item() == pytest.approx(nats[same].mean().item(), rel=1e-3)
    assert told.of_two.item() == pytest.approx(nats[~same].mean().item(), rel=1e-3)
    least = nats[same].median()
    told.of_one.fill_(least - 4.0)
    told.of_two.fill_(least + 6.0)
    steps = 100.0 * (nats[same] - least).clamp_min(0.0) / 6.0
    torch.testing.assert_close(told(features, features.flip(0)), steps)
    assert (steps > 0.0).any() and torch.equal(told(features, features), torch.zeros(6))


def test_the_means_are_of_training_alone_and_run() -> None:
    torch.manual_seed(0)
    told, same = SceneDistance(1, 5, [8]), torch.eye(6, dtype=torch.bool)
    features, goals = torch.randn(2, 6, 5)
    told.loss(features, goals, same, torch.zeros_like)
    before = told.of_two.item()
    with torch.no_grad():
        told.loss(10.0 * features, 10.0 * goals, same, torch.zeros_like)
    assert told.of_two.item() == before
    told.loss(10.0 * features, 10.0 * goals, same, torch.zeros_like)
    alone = SceneDistance(1, 5, [8])
    alone.network.load_state_dict(told.network.state_dict())
    alone.loss(10.0 * features, 10.0 * goals, same, torch.zeros_like)
    assert told.of_two.item() == pytest.approx(0.99 * before + 0.01 * alone.of_two.item(), rel=1e-5)


def test_the_loss_is_the_cross_entropy_of_each_pair_of_one_scene_against_the_other_scenes() -> None:
    torch.manual_seed(0)
    told, (features, goals) = SceneDistance(1, 5, [8]), torch.randn(2, 4, 5)
    scene = torch.tensor([0, 0, 1, 2])
    loss = told.loss(features, goals, scene[:, None] == scene, torch.zeros_like)
    apart = told.network(features)[0][:, None] - told.network(goals)[0]
    nats = apart.square().mean(-1).sqrt() / 0.1
    rows = []
    for row in range(4):
        own, others = nats[row][scene == scene[row]], nats[row][scene != scene[row]]
        rows.append(torch.stack([-(-one).sub(torch.cat([one[None], others]).neg().logsumexp(0)) for one in own]).mean())
    assert loss.item() == pytest.approx(torch.stack(rows).mean().item(), rel=1e-4)


def test_data_of_one_scene_trains_with_a_warning(
    tmp_path: Path, tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        trainer = Trainer(store_of(tmp_path / "store", 1), tiny_config(**KEYS, scene_distance=True), progress=False)
    assert "one scene" in caplog.text
    loss, metrics = trainer.agent.loss(batch_of(trainer))
    loss.backward()
    assert metrics["critic/scene_distance"] == 0.0
    assert all(
        parameter.grad.isfinite().all() for parameter in trainer.agent.parameters() if parameter.grad is not None
    )


@pytest.mark.parametrize("keys", [{}, {"actor": "flow", "candidates": 4}], ids=["mean", "chosen"])
def test_a_bundle_tells_the_same(
    writable_store: Path, tmp_path: Path, tiny_config: Config, spec, monkeypatch: pytest.MonkeyPatch, keys: dict
) -> None:
    """`export_run` compares the graph with torch; here with scenes that speak much."""
    monkeypatch.setattr(scene_distance, "_STEPS", 1e7)
    monkeypatch.setattr(scene_distance, "_SHARE", 0.0)
    train(writable_store, tmp_path / "run", tiny_config(scene_distance=True, **keys), progress=False)
    bundle = export_run(tmp_path / "run", tmp_path / "policy.onnx", spec)
    store = EpisodeStore.open(writable_store)
    goals = store.images(np.arange(store.num_frames), camera=0)
    seen = np.broadcast_to(goals[0], goals.shape)
    steps = bundle.run(np.ascontiguousarray(seen), goals)["steps_to_goal"]
    critic_alone = 1e4  # steps; no critic comes near that
    assert steps.max() > critic_alone and steps[0] == pytest.approx(0.0, abs=1e-3)
