"""Batches hold the frames that an agent asks for, whatever the kind of observation and wherever it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.rows.training_data import TrainingData
from mqe_core.learning.run.begin import frozen_encoder
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]


def test_images_that_lie_in_tensors_give_the_same_batch(synthetic_store: Path, tiny_config: Config) -> None:
    """As they lie in a GPU's memory."""
    config = tiny_config(observation="pixels", augment_probability=1.0, augment_colour=0.2)
    arrays, tensors = (Trainer(EpisodeStore.open(synthetic_store), config, progress=False) for _ in range(2))
    tensors.data.observations._cache = torch.from_numpy(tensors.data.observations._cache)
    names = arrays.agent.frames
    batch, other = (trainer.data.sample(np.random.default_rng(0), names) for trainer in (arrays, tensors))
    assert batch.frames.keys() == set(names) and torch.equal(batch.actions, other.actions)
    assert all(torch.equal(batch.frames[name], other.frames[name]) for name in names)


def test_pixel_training_leaves_out_episodes_without_images(tmp_path: Path, tiny_config: Config) -> None:
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        for episode in range(4):
            frames = {0: [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(6)]} if episode % 2 else {}
            writer.add(Episode(f"episode{episode}", rng.normal(size=(6, 7)), rng.normal(size=(5, 7)), frames))
    trainer = Trainer(EpisodeStore.open(tmp_path / "store"), tiny_config(observation="pixels"), progress=False)
    assert set(trainer.data.transitions.indices) == {*range(6, 11), *range(18, 23)}
    trainer.update()


@pytest.mark.parametrize("kind", ["pixels", "state", "features"])
def test_fewer_frames_are_the_same_frames(
    writable_store: Path, tmp_path: Path, tiny_config: Config, encoder_run: Path, kind: str
) -> None:
    """An agent that asks for two frames gets the rows, and the random changes, of one that asks for four."""
    keys = {"pixels": {"augment_probability": 1.0, "augment_colour": 0.2}, "state": {"observation": "state"}}
    keys["features"] = {"features_of": str(encoder_run), "feature_copies": 3}
    config, store = tiny_config(**keys[kind]), EpisodeStore.open(writable_store)
    encoder = frozen_encoder(config, store, tmp_path / "run")
    data = TrainingData(store, config, torch.device("cpu"), encoder=encoder, progress=False)
    four, two = (data.sample(np.random.default_rng(0), agent.frames) for agent in (AGENTS["mqe"][0], AGENTS["gcbc"][0]))
    assert set(four.frames) == {"observation", "waypoint", "value_goal", "actor_goal"}
    assert set(two.frames) == set(two.steps) == {"observation", "actor_goal"}
    for name, frames in two.frames.items():
        assert torch.equal(frames, four.frames[name]), name
        assert torch.equal(two.steps[name], four.steps[name]), name


def test_a_frame_that_the_sampler_does_not_draw_is_named(synthetic_store: Path, tiny_config: Config) -> None:
    data = TrainingData(EpisodeStore.open(synthetic_store), tiny_config(observation="state"), torch.device("cpu"))
    with pytest.raises(AssertionError, match="mqe needs the frames {'subgoal'}"):
        data.sample(np.random.default_rng(0), ("observation", "subgoal"))


@pytest.mark.parametrize(("episodes", "fraction"), [(1, 0.01), (1, 0.5), (2, 0.9)])
def test_a_share_that_holds_out_everything_is_named(
    tmp_path: Path, tiny_config: Config, episodes: int, fraction: float
) -> None:
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        for episode in range(episodes):
            writer.add(Episode(f"episode{episode}", rng.normal(size=(6, 7)), rng.normal(size=(5, 7)), {}))
    store = EpisodeStore.open(tmp_path / "store")
    with pytest.raises(ValueError, match=rf"validation_fraction={fraction:g} holds out all .* \({episodes}\)"):
        Trainer(store, tiny_config(observation="state", validation_fraction=fraction), progress=False)


def test_states_and_actions_may_stay_as_they_are(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> None:
    keys = {"observation": "state", "standardise": False, "action_scale": "identity"}
    trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**keys), progress=False)
    batch = trainer.data.sample(np.random.default_rng(0), trainer.agent.frames)
    observations = batch.frames["observation"]
    assert torch.equal(trainer.agent.critic_encoder(observations), observations)
    assert trainer.data.action_scale.low.tolist() == [-1.0] * 7
    standardised = Trainer(EpisodeStore.open(synthetic_store), tiny_config(observation="state"), progress=False)
    assert not torch.equal(standardised.agent.critic_encoder(observations), observations)
