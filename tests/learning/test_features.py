"""A run on the features of a frozen encoder is a run like any other, and its bundle takes images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.bundle import PolicyBundle
from mqe_core.data.episode_store import Episode, EpisodeStore, EpisodeWriter
from mqe_core.golden_images import counter_image
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.augmentation import random_crop
from mqe_core.learning.export import export_run
from mqe_core.learning.features import FeatureObservations
from mqe_core.learning.frozen_encoder import FrozenEncoder, encoder_of_agent, encoder_of_bundle
from mqe_core.learning.train import action_scale, load_run, train
from mqe_core.learning.trainer import RunConfig

Config = Callable[..., RunConfig]
ENCODER = {
    "agent": "gcbc",
    "encoder": "patch",
    "actor_fusion": "late",
    "actor_goals_crossed": True,
    "landmark_weight": 1.0,
}


@pytest.fixture()
def synthetic_store(synthetic_store: Path, tmp_path: Path) -> Path:
    """A copy, as training leaves features in it."""
    return Path(shutil.copytree(synthetic_store, tmp_path / "store"))


@pytest.fixture()
def encoder_run(synthetic_store: Path, tmp_path: Path, tiny_config: Config) -> Path:
    train(synthetic_store, tmp_path / "encoder", tiny_config(**ENCODER), progress=False)
    return tmp_path / "encoder"


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_two_steps_and_resume_equal_four_steps(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, agent: str
) -> None:
    keys = {"agent": agent, "features_of": str(encoder_run), "feature_copies": 2, "actor_goals_crossed": True}
    train(synthetic_store, tmp_path / "whole", tiny_config(steps=4, **keys), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=2, **keys), progress=False)
    (encoder_run / "checkpoints" / "latest.pt").unlink()  # the run holds the encoder itself
    train(synthetic_store, tmp_path / "parts", tiny_config(steps=4, **keys), resume=True, progress=False)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_the_bundle_takes_images(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, agent: str, spec
) -> None:
    """The action of a bundle is that of the agent on the encoder's features, put together here by hand."""
    run = tmp_path / "run"
    train(synthetic_store, run, tiny_config(agent=agent, features_of=str(encoder_run)), progress=False)
    bundle = export_run(run, tmp_path / "policy.onnx", spec)
    assert bundle.contract.image_size == 32
    observation, goal = (np.stack([counter_image(32, 10 * i + k) for k in range(3)]) for i in (1, 2))
    encoder = encoder_of_agent(load_run(encoder_run)[0], encoder_run)
    trained, _, metadata = load_run(run)
    with torch.no_grad():
        action, _ = trained.deployed(*(encoder(torch.from_numpy(images)) for images in (observation, goal)))
    scale = action_scale(metadata)
    expected = scale.low + (action.numpy() + 1) / 2 * (scale.high - scale.low)
    np.testing.assert_allclose(
        PolicyBundle.open(tmp_path / "policy.onnx").run(observation, goal)["action"], expected, atol=1e-4
    )


def test_a_bundle_s_encoder_serves_as_its_run_s(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    train(synthetic_store, tmp_path / "first", tiny_config(features_of=str(encoder_run)), progress=False)
    bundles = [tmp_path / "policy.onnx", tmp_path / "pixels.onnx"]  # the second: the encoder's own policy
    for run, bundle in zip((tmp_path / "first", encoder_run), bundles):
        export_run(run, bundle, spec)
    for number, source in enumerate((encoder_run, *bundles)):
        train(
            synthetic_store,
            tmp_path / f"run{number}",
            tiny_config(agent="gciql", features_of=str(source)),
            progress=False,
        )
    tables = [(tmp_path / f"run{number}" / "metrics.csv").read_bytes() for number in range(3)]
    assert tables[0] == tables[1] == tables[2]


def test_of_two_encoders_bundle_and_run_both_give_the_critic_s(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    run, bundle = tmp_path / "both", tmp_path / "both.onnx"
    train(synthetic_store, run, tiny_config(agent="mqe", encoder="patch", actor_fusion="late"), progress=False)
    export_run(run, bundle, spec)
    agent = load_run(run)[0]
    expected, found = encoder_of_agent(agent, run).state_dict(), encoder_of_bundle(bundle).encoder.state_dict()
    assert not torch.equal(expected["dense.weight"], agent.actor.encoder.encoder.state_dict()["dense.weight"])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)


def test_an_encoder_that_the_goal_steers_is_taken_from_neither(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    run, bundle = tmp_path / "steered", tmp_path / "steered.onnx"
    train(synthetic_store, run, tiny_config(agent="tra", encoder="patch"), progress=False)
    export_run(run, bundle, spec)
    for source in (run, bundle):
        with pytest.raises(ValueError, match="no encoder of single images"):
            train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(source)), progress=False)


def test_a_bundle_without_an_encoder_of_single_images_is_refused(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    train(synthetic_store, tmp_path / "early", tiny_config(agent="gcbc"), progress=False)
    bundle = tmp_path / "early.onnx"
    export_run(tmp_path / "early", bundle, spec)
    with pytest.raises(ValueError, match="early.onnx has no encoder of single images"):
        train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(bundle)), progress=False)
    bundle.write_bytes(bundle.read_bytes()[:-100])
    with pytest.raises(ValueError, match="copy the file again"):
        train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(bundle)), progress=False)
    with pytest.raises(ValueError, match="the run that trained the encoder"):
        train(
            synthetic_store,
            tmp_path / "run",
            tiny_config(features_of=str(bundle), actor_from_encoder=True),
            progress=False,
        )


def test_a_policy_may_begin_as_the_encoder_s_own(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """With next to no learning rate both answer alike, and so does the action scale: one from features, one from images."""
    run, keys = tmp_path / "run", {"features_of": str(encoder_run), "learning_rate": 1e-12}
    train(synthetic_store, run, tiny_config(actor_from_encoder=True, **keys), progress=False)
    train(synthetic_store, tmp_path / "cold", tiny_config(**keys), progress=False)
    (source, _, its_metadata), (warm, _, metadata), (cold, _, _) = map(load_run, (encoder_run, run, tmp_path / "cold"))
    images = [torch.from_numpy(np.stack([counter_image(32, 10 * i + k) for k in range(3)])) for i in (1, 2)]
    with torch.no_grad():
        expected, _ = source.deployed(*images)
        answers = [agent.policy_module()(*images)[0] for agent in (warm, cold)]
    torch.testing.assert_close(answers[0], expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(answers[1], expected, atol=1e-2)
    (run / "checkpoints" / "latest.pt").unlink()  # as where it was interrupted before its first checkpoint
    train(synthetic_store, run, tiny_config(actor_from_encoder=True, **keys), resume=True, progress=False)
    with torch.no_grad():
        torch.testing.assert_close(load_run(run)[0].policy_module()(*images)[0], expected, atol=1e-4, rtol=1e-4)
    assert (
        metadata["action_low"] == its_metadata["action_low"] and metadata["action_high"] == its_metadata["action_high"]
    )


def test_a_policy_cannot_begin_as_one_of_other_layers(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    keys = {"features_of": str(encoder_run), "actor_from_encoder": True}
    with pytest.raises(ValueError, match="layers as the encoder's run has them"):
        train(synthetic_store, tmp_path / "run", tiny_config(hidden_dims=[24], **keys), progress=False)
    with pytest.raises(ValueError, match="one component"):
        train(synthetic_store, tmp_path / "mixture", tiny_config(actor_components=2, **keys), progress=False)
    with pytest.raises(ValueError, match="sees each image alone"):
        train(synthetic_store, tmp_path / "other", tiny_config(agent="tra", **keys), progress=False)
    with pytest.raises(ValueError, match="leave out one"):
        train(synthetic_store, tmp_path / "twice", tiny_config(**keys), init=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="needs features_of"):
        tiny_config(actor_from_encoder=True)


def test_features_are_the_encoder_s_answers_and_are_kept(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path
) -> None:
    store = EpisodeStore.open(synthetic_store)
    encoder = FrozenEncoder(encoder_of_agent(load_run(encoder_run)[0], encoder_run), "patch", store.image_size).encoder
    make = lambda: FeatureObservations(store, 0, encoder, copies=2, padding=2, progress=False)  # noqa: E731
    features, frames = make(), np.array([0, 5, 30])
    images = store.images(frames, camera=0)
    with torch.no_grad():
        np.testing.assert_allclose(features.take(frames), encoder(torch.from_numpy(images)).numpy(), atol=2e-3)
        shifts = [[dy, dx] for dy in range(5) for dx in range(5)]
        shifted = [
            encoder(torch.from_numpy(random_crop(images[:1], np.array([shift]), 2)))[0].numpy() for shift in shifts
        ]
    assert min(np.abs(features.take(frames[:1], np.array([1]))[0] - one).max() for one in shifted) < 2e-3
    (kept,) = (store.path / "features").glob("*.npy")
    before = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(make().take(frames), features.take(frames))
    assert kept.stat().st_mtime_ns == before
    with torch.no_grad():
        encoder.norm.bias.add_(1.0)  # as in a run that went on
    assert not np.allclose(make().take(frames), features.take(frames), atol=0.1)


def test_what_has_no_encoder_of_single_images_is_refused(
    synthetic_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "early", tiny_config(agent="gcbc"), progress=False)
    with pytest.raises(ValueError, match="no encoder of single images: train gcbc with actor_fusion=late"):
        train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "early")), progress=False)
    train(synthetic_store, tmp_path / "features", tiny_config(features_of=str(encoder_run)), progress=False)
    with pytest.raises(ValueError, match="was not trained from pixels"):
        train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "features")), progress=False)
    with EpisodeWriter(
        tmp_path / "small", image_size=16, source="tests/learning/test_features.py", domain="sim"
    ) as writer:
        frames = [np.zeros((16, 16, 3), np.uint8)] * 3
        writer.add(Episode("one", np.zeros((3, 7)), np.zeros((2, 7)), {0: frames}, ()))
    with pytest.raises(ValueError, match="takes images of 32 pixels, the data has 16"):
        train(tmp_path / "small", tmp_path / "run", tiny_config(features_of=str(encoder_run)), progress=False)
    with pytest.raises(ValueError, match="not a run folder"):
        train(synthetic_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "nowhere")), progress=False)
    with pytest.raises(ValueError, match="features_of needs images"):
        tiny_config(features_of=str(encoder_run), observation="state")
