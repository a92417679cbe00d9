"""A run on the features of a frozen encoder is a run like any other, and its bundle takes images."""

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
from mqe_core.learning.export.export import export_run
from mqe_core.learning.rows.augmentation import random_crop
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder, encoder_of_agent, encoder_of_bundle
from mqe_core.learning.run.config import read_values
from mqe_core.learning.run.run_config import RunConfig, make_config
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.learning.run.train import resume, train
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.golden_images import counter_image

Config = Callable[..., RunConfig]


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_two_steps_and_resume_equal_four_steps(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, agent: str
) -> None:
    crossed = agent != "hiql"  # which refuses them
    keys = {"agent": agent, "features_of": str(encoder_run), "feature_copies": 2, "actor_goals_crossed": crossed}
    train(writable_store, tmp_path / "whole", tiny_config(steps=4, **keys), progress=False)
    train(writable_store, tmp_path / "parts", tiny_config(steps=2, **keys), progress=False)
    (encoder_run / "checkpoints" / "latest.pt").unlink()  # the run holds the encoder itself
    resume(writable_store, tmp_path / "parts", tiny_config(steps=4, **keys), progress=False)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()


@pytest.mark.parametrize("agent", sorted(AGENTS))
def test_the_bundle_takes_images(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, agent: str, spec
) -> None:
    """The action of a bundle is that of the agent on the encoder's features, put together here by hand."""
    run = tmp_path / "run"
    train(writable_store, run, tiny_config(agent=agent, features_of=str(encoder_run)), progress=False)
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
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    train(writable_store, tmp_path / "first", tiny_config(features_of=str(encoder_run)), progress=False)
    bundles = [tmp_path / "policy.onnx", tmp_path / "pixels.onnx"]  # the second: the encoder's own policy
    for run, bundle in zip((tmp_path / "first", encoder_run), bundles):
        export_run(run, bundle, spec)
    for number, source in enumerate((encoder_run, *bundles)):
        train(
            writable_store,
            tmp_path / f"run{number}",
            tiny_config(agent="gciql", features_of=str(source)),
            progress=False,
        )
    tables = [(tmp_path / f"run{number}" / "metrics.csv").read_bytes() for number in range(3)]
    assert tables[0] == tables[1] == tables[2]


def test_of_two_encoders_bundle_and_run_both_give_the_critic_s(
    writable_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    run, bundle = tmp_path / "both", tmp_path / "both.onnx"
    train(writable_store, run, tiny_config(agent="mqe", encoder="patch", actor_fusion="late"), progress=False)
    export_run(run, bundle, spec)
    agent = load_run(run)[0]
    expected, found = encoder_of_agent(agent, run).state_dict(), encoder_of_bundle(bundle).encoder.state_dict()
    assert not torch.equal(expected["dense.weight"], agent.actor.encoder.encoder.state_dict()["dense.weight"])
    torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)


def test_an_encoder_that_the_goal_steers_is_taken_from_neither(
    writable_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    run, bundle = tmp_path / "steered", tmp_path / "steered.onnx"
    train(writable_store, run, tiny_config(agent="tra", encoder="patch"), progress=False)
    export_run(run, bundle, spec)
    for source in (run, bundle):
        with pytest.raises(ValueError, match="no encoder of single images"):
            train(writable_store, tmp_path / "run", tiny_config(features_of=str(source)), progress=False)


def test_a_bundle_without_an_encoder_of_single_images_is_refused(
    writable_store: Path, tmp_path: Path, tiny_config: Config, spec
) -> None:
    train(writable_store, tmp_path / "early", tiny_config(agent="gcbc"), progress=False)
    bundle = tmp_path / "early.onnx"
    export_run(tmp_path / "early", bundle, spec)
    with pytest.raises(ValueError, match="early.onnx has no encoder of single images"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(bundle)), progress=False)
    bundle.write_bytes(bundle.read_bytes()[:-100])
    with pytest.raises(ValueError, match="copy the file again"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(bundle)), progress=False)


def test_features_are_the_encoder_s_answers_and_are_kept(
    writable_store: Path, tmp_path: Path, encoder_run: Path
) -> None:
    store = EpisodeStore.open(writable_store)
    encoder = FrozenEncoder(encoder_of_agent(load_run(encoder_run)[0], encoder_run), "patch", store.image_size).encoder
    make = lambda: FeatureObservations(store, 0, encoder, copies=2, padding=2, progress=False)  # noqa: E731
    features, frames = make(), np.array([0, 5, 30])
    images = store.images(frames, camera=0)
    with torch.no_grad():
        np.testing.assert_allclose(features.take(frames).numpy(), encoder(torch.from_numpy(images)).numpy(), atol=2e-3)
        shifts = [[dy, dx] for dy in range(5) for dx in range(5)]
        shifted = [
            encoder(torch.from_numpy(random_crop(images[:1], np.array([shift]), 2)))[0].numpy() for shift in shifts
        ]
    assert min(np.abs(features.copy(1, frames[:1])[0].numpy() - one).max() for one in shifted) < 2e-3
    (kept,) = (store.path / "features").glob("*.npy")
    before = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(make().take(frames), features.take(frames))
    assert kept.stat().st_mtime_ns == before
    with torch.no_grad():
        encoder.norm.bias.add_(1.0)  # as in a run that went on
    assert not np.allclose(make().take(frames), features.take(frames), atol=0.1)


def test_what_has_no_encoder_of_single_images_is_refused(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    train(writable_store, tmp_path / "early", tiny_config(agent="gcbc"), progress=False)
    with pytest.raises(ValueError, match="no encoder of single images: train gcbc with actor_fusion=late"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "early")), progress=False)
    train(writable_store, tmp_path / "features", tiny_config(features_of=str(encoder_run)), progress=False)
    with pytest.raises(ValueError, match="was not trained from pixels"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "features")), progress=False)
    with EpisodeWriter(
        tmp_path / "small", image_size=16, source="tests/learning/rows/test_features.py", domain="sim"
    ) as writer:
        frames = [np.zeros((16, 16, 3), np.uint8)] * 3
        writer.add(Episode("one", np.zeros((3, 7)), np.zeros((2, 7)), {0: frames}, ()))
    with pytest.raises(ValueError, match="takes images of 32 pixels, the data has 16"):
        train(tmp_path / "small", tmp_path / "run", tiny_config(features_of=str(encoder_run)), progress=False)
    with pytest.raises(ValueError, match="not a run folder"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(tmp_path / "nowhere")), progress=False)
    with pytest.raises(ValueError, match="features_of needs images"):
        tiny_config(features_of=str(encoder_run), observation="state")


def test_the_preset_of_features_asks_for_an_encoder(synthetic_store: Path, tmp_path: Path) -> None:
    config = make_config(read_values(Path("sim_features")))
    with pytest.raises(ValueError, match="features_of=FILE"):
        train(synthetic_store, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("damage", ["cut off", "empty", "of another store", "no numbers"])
def test_features_that_are_damaged_are_made_again(
    writable_store: Path, encoder_run: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    store, encoder = EpisodeStore.open(writable_store), encoder_of_agent(load_run(encoder_run)[0], encoder_run)
    encoder = FrozenEncoder(encoder, "patch", store.image_size).encoder
    whole = FeatureObservations(store, 0, encoder, progress=False).take(np.arange(5))
    (kept,) = (store.path / "features").glob("*.npy")
    content = kept.read_bytes()
    if damage == "of another store":
        np.save(kept, np.load(kept)[:, :7])
    else:
        kept.write_bytes({"cut off": content[: len(content) // 2], "empty": b"", "no numbers": b"x" * 200}[damage])
    again = FeatureObservations(store, 0, encoder, progress=False).take(np.arange(5))
    np.testing.assert_array_equal(again, whole)
    assert "so the images are encoded again" in caplog.text
    assert kept.read_bytes() == content
