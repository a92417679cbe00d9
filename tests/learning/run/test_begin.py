"""A run begins at random, with the weights of another run, or with its policy; a run that is there is continued."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mqe_core.commands import train as command
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.export.export import export_run
from mqe_core.learning.run.run_config import REMOVED_KEYS, RunConfig, make_config
from mqe_core.learning.run.run_folder import load_run, read_config, read_metadata
from mqe_core.learning.run.train import resume, train
from mqe_core.policy.golden_images import counter_image

Config = Callable[..., RunConfig]
TINY = ["--set", "hidden_dims=[8]", "--set", "latent_dim=16", "--set", "components=2", "--set", "threads=1"]
TINY += ["--set", "observation=state", "--batch-size", "4"]
NO_RATE = {"learning_rate": 1e-12}  # a run that stays where it begins
IMAGES = [torch.from_numpy(np.stack([counter_image(32, 10 * i + k) for k in range(3)])) for i in (1, 2)]


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def actions(run_folder: Path) -> torch.Tensor:
    """What a run's policy answers to three pairs of images."""
    with torch.no_grad():
        return load_run(run_folder)[0].policy_module()(*IMAGES)[0]


def assert_same_weights(first: Path, second: Path) -> None:
    before, after = load_run(first)[0].state_dict(), load_run(second)[0].state_dict()
    assert before.keys() == after.keys()
    for name, weights in before.items():
        torch.testing.assert_close(after[name], weights, atol=1e-9, rtol=1e-6)


def test_a_run_can_begin_with_the_weights_and_the_action_scale_of_another(writable_store: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("--data", writable_store, "--out", first, *TINY, "--steps", "3", "--set", "average_decay=0.5")
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "other", image_size=32, source="test", domain="sim") as writer:
        for i in range(4):  # other actions, whose own scale would be another
            writer.add(Episode(f"e{i}", rng.normal(size=(9, 7)), rng.normal(0, 0.5, size=(8, 7))))
    arguments = ["--data", tmp_path / "other", "--out", second, *TINY, "--steps", "1", "--set", "learning_rate=1e-12"]
    assert run(*arguments, "--begin-from", first) == 0
    assert_same_weights(first, second)
    metadata = [read_metadata(path) for path in (first, second)]
    assert metadata[0]["action_low"] == metadata[1]["action_low"]
    assert metadata[1]["begin_from"]["data"] == metadata[0]["data"]["fingerprint"]
    assert metadata[0]["begin_from"] is None


@pytest.mark.parametrize("name_in_metadata", ["begin_from", "init"])
def test_a_run_interrupted_before_its_first_checkpoint_begins_with_those_weights_again(
    writable_store: Path, tmp_path: Path, name_in_metadata: str
) -> None:
    """Also where an earlier version began it, which said init."""
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = ["--data", writable_store, *TINY]
    run(*arguments, "--out", first, "--steps", "3")
    run(*arguments, "--out", second, "--steps", "1", "--set", "learning_rate=1e-12", "--begin-from", first)
    (second / "checkpoints" / "latest.pt").unlink()
    metadata = json.loads((second / "metadata.json").read_text())
    metadata[name_in_metadata] = metadata.pop("begin_from")
    (second / "metadata.json").write_text(json.dumps(metadata))
    assert run("--resume", "--out", second) == 0
    assert_same_weights(first, second)


def test_weights_of_other_networks_are_refused(writable_store: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run("--data", writable_store, "--out", first, *TINY, "--steps", "1")
    other = ["--data", writable_store, "--out", tmp_path / "second", *TINY, "--steps", "1", "--begin-from", first]
    with pytest.raises(ValueError, match="the networks of .* are others"):
        run(*other, "--set", "hidden_dims=[16]")
    cloning = ["--agent", "gcbc", "--set", "observation=state", "--steps", "1", "--begin-from", first]
    with pytest.raises(ValueError, match="holds mqe, not gcbc"):
        run("--data", writable_store, "--out", tmp_path / "third", *cloning)


def test_what_no_run_can_begin_from_is_refused(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    with pytest.raises(ValueError, match="leave out --begin-from"):
        run("--resume", "--out", encoder_run, "--begin-from", encoder_run, "--steps", "5")
    with pytest.raises(ValueError, match="not a run folder"):
        train(writable_store, tmp_path / "run", tiny_config(), begin_from=tmp_path / "nowhere", progress=False)
    bundle = tmp_path / "policy.onnx"
    export_run(encoder_run, bundle, spec)
    with pytest.raises(ValueError, match="a bundle holds what its policy needs"):
        train(writable_store, tmp_path / "run", tiny_config(features_of=str(bundle)), begin_from=bundle, progress=False)
    config = tiny_config(features_of=str(encoder_run), begin_with="policy")
    with pytest.raises(ValueError, match="give --begin-from RUN"):
        train(writable_store, tmp_path / "run", config, progress=False)
    with pytest.raises(ValueError, match="begin_with must be one of all, policy"):
        tiny_config(begin_with="critic")


def test_a_run_on_features_can_begin_from_one_on_the_same_features(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """On other data, whose features have other means, the policy answers as before."""
    first, second = tmp_path / "first", tmp_path / "second"
    config = tiny_config(features_of=str(encoder_run))
    train(writable_store, first, config, progress=False)
    train(
        other_store,
        second,
        tiny_config(features_of=str(encoder_run), **NO_RATE),
        begin_from=first,
        progress=False,
    )
    torch.testing.assert_close(actions(second), actions(first), atol=1e-6, rtol=1e-5)

    other, config = tmp_path / "other_encoder", read_config(encoder_run)
    train(
        writable_store,
        other,
        dataclasses.replace(config, train=dataclasses.replace(config.train, seed=5)),
        progress=False,
    )
    with pytest.raises(ValueError, match="learned on features of another encoder"):
        train(writable_store, tmp_path / "third", tiny_config(features_of=str(other)), begin_from=first, progress=False)


def test_a_policy_on_features_may_begin_as_the_encoder_s_own(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """With next to no learning rate both answer alike, and so does the action scale: one from features, one from
    images.
    """
    warm, cold, keys = tmp_path / "warm", tmp_path / "cold", {"features_of": str(encoder_run), **NO_RATE}
    config = tiny_config(begin_with="policy", **keys)
    train(writable_store, warm, config, begin_from=encoder_run, progress=False)
    train(writable_store, cold, tiny_config(**keys), progress=False)
    expected = actions(encoder_run)
    torch.testing.assert_close(actions(warm), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(actions(cold), expected, atol=1e-2)
    (warm / "checkpoints" / "latest.pt").unlink()  # as where it was interrupted before its first checkpoint
    resume(writable_store, warm, config, progress=False)
    torch.testing.assert_close(actions(warm), expected, atol=1e-4, rtol=1e-4)
    metadata, its_metadata = read_metadata(warm), read_metadata(encoder_run)
    assert metadata["action_low"] == its_metadata["action_low"]
    assert metadata["action_high"] == its_metadata["action_high"]


def test_a_policy_may_begin_as_one_that_sees_the_same(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    """From pixels or from features; the agent may be another one, as only the policy is taken."""
    features = {"features_of": str(encoder_run)}
    for name, keys in (("pixels", {"observation": "pixels"}), ("features", features)):
        first, second = tmp_path / name, tmp_path / f"{name}_again"
        train(writable_store, first, tiny_config(agent="gcbc", **keys), progress=False)
        config = tiny_config(agent="mqe", begin_with="policy", **keys, **NO_RATE)
        train(writable_store, second, config, begin_from=first, progress=False)
        torch.testing.assert_close(actions(second), actions(first), atol=1e-5, rtol=1e-4)


@pytest.fixture
def other_store(tmp_path: Path) -> Path:
    """Darker pictures and smaller actions: features and actions have other means and ranges."""
    rng = np.random.default_rng(1)
    with EpisodeWriter(tmp_path / "day", image_size=32, source="test", domain="sim") as writer:
        for i in range(4):
            pictures = [rng.integers(0, 60, (32, 32, 3), dtype=np.uint8) for _ in range(9)]
            writer.add(Episode(f"e{i}", rng.normal(size=(9, 7)), 0.1 * rng.normal(size=(8, 7)), {0: pictures}))
    return tmp_path / "day"


KEPT = {"agent": "mqe", "begin_with": "policy", "alpha": 0.0, "q_weight": 0.0}


@pytest.mark.parametrize("sees", ["pixels", "features"])
def test_the_policy_of_a_bundle_stays_as_it_is_while_a_critic_learns_on_other_data(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec, sees: str
) -> None:
    """Bit for bit, its action scale included."""
    keys = {"observation": "pixels"} if sees == "pixels" else {"features_of": str(encoder_run)}
    train(writable_store, tmp_path / "first", tiny_config(agent="mqe", **keys), progress=False)
    bundle = export_run(tmp_path / "first", tmp_path / "first.onnx", spec)
    runs = [tmp_path / "still", tmp_path / "learned"]
    for run_folder, more in zip(runs, (NO_RATE, {"average_decay": 0.9})):
        config = tiny_config(**KEPT, **keys, **more)
        train(other_store, run_folder, config, begin_from=bundle.path, progress=False)
    again = export_run(runs[1], tmp_path / "again.onnx", spec)
    images = [batch.numpy() for batch in IMAGES]
    np.testing.assert_array_equal(again.run(*images)["action"], bundle.run(*images)["action"])
    still, learned = (load_run(run_folder)[0].psi.state_dict() for run_folder in runs)
    assert not any(torch.allclose(still[name], learned[name], atol=1e-6) for name in still)
    assert read_metadata(runs[1])["begin_from"]["data"] == read_metadata(tmp_path / "first")["data"]["fingerprint"]


def test_on_features_a_policy_may_begin_as_the_bundle_of_the_encoder_s_own(
    writable_store: Path, other_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    for half in (False, True):
        bundle = export_run(encoder_run, tmp_path / f"{half}.onnx", spec, half=half)
        config = tiny_config(features_of=str(bundle.path), **KEPT)
        train(other_store, tmp_path / f"{half}", config, begin_from=bundle.path, progress=False)
        images = [batch.numpy() for batch in IMAGES]
        scale = np.subtract(bundle.contract.action_high, bundle.contract.action_low)
        told = export_run(tmp_path / f"{half}", tmp_path / "told.onnx", spec).run(*images)["action"]
        np.testing.assert_allclose(told / scale, bundle.run(*images)["action"] / scale, atol=2e-3 if half else 1e-4)


@pytest.mark.parametrize("agent", ["gcbc", "gciql", "gcivl", "crl", "cmd", "tmd", "qrl", "mqe"])
def test_each_agent_with_a_plain_policy_gives_it_by_its_bundle(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec, agent: str
) -> None:
    keys = {"features_of": str(encoder_run)}
    train(writable_store, tmp_path / "first", tiny_config(agent=agent, **keys), progress=False)
    bundle = export_run(tmp_path / "first", tmp_path / "first.onnx", spec)
    train(writable_store, tmp_path / "second", tiny_config(**KEPT, **keys), begin_from=bundle.path, progress=False)
    torch.testing.assert_close(actions(tmp_path / "second"), actions(tmp_path / "first"), atol=1e-6, rtol=1e-6)


def test_a_bundle_without_a_plain_policy_gives_none(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config, spec
) -> None:
    tries = {
        "a plain policy": ({"agent": "tra"}, {}),
        "with a plain policy": ({"agent": "gcbc", "actor": "flow"}, {}),
        "sees each image alone": ({"agent": "gcbc", "encoder": "patch"}, {"features_of": str(encoder_run)}),
    }
    for number, (why, (its, keys)) in enumerate(tries.items()):
        train(writable_store, tmp_path / f"{number}", tiny_config(**its), progress=False)
        bundle = export_run(tmp_path / f"{number}", tmp_path / f"{number}.onnx", spec)
        config = tiny_config(begin_with="policy", **keys)
        with pytest.raises(ValueError, match=why):
            train(writable_store, tmp_path / "run", config, begin_from=bundle.path, progress=False)


def test_a_policy_that_stays_has_to_begin_as_one_and_nothing_else_changes_it(tiny_config: Config) -> None:
    with pytest.raises(ValueError, match="the policy would learn nothing"):
        tiny_config(**{**KEPT, "begin_with": "all"})
    for keys in ({"landmark_weight": 1.0}, {"encoder_shared": True, "actor_fusion": "late"}):
        with pytest.raises(ValueError, match="leave landmark_weight at 0 and encoder_shared at false"):
            tiny_config(**KEPT, **keys)


def test_a_policy_cannot_begin_as_one_of_other_layers(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    keys = {"features_of": str(encoder_run), "begin_with": "policy"}
    told = re.escape("encoder has: --set hidden_dims=[16,16] --set actor_layer_norm=false")
    for other in ({"hidden_dims": [16, 24]}, {"hidden_dims": [16]}, {"actor_layer_norm": True}):
        with pytest.raises(ValueError, match=told):
            config = tiny_config(**other, **keys)
            train(writable_store, tmp_path / "run", config, begin_from=encoder_run, progress=False)
    with pytest.raises(ValueError, match="all but tra"):
        config = tiny_config(agent="tra", **keys)
        train(writable_store, tmp_path / "other", config, begin_from=encoder_run, progress=False)
    train(writable_store, tmp_path / "early", tiny_config(agent="gcbc", encoder="patch"), progress=False)
    with pytest.raises(ValueError, match="sees each image alone"):
        train(writable_store, tmp_path / "third", tiny_config(**keys), begin_from=tmp_path / "early", progress=False)


def test_a_policy_on_features_needs_those_that_the_other_saw(
    writable_store: Path, tmp_path: Path, encoder_run: Path, tiny_config: Config
) -> None:
    config = tiny_config(agent="gcbc", encoder="patch", actor_fusion="late", seed=1)
    train(writable_store, tmp_path / "another", config, progress=False)
    train(writable_store, tmp_path / "on_it", tiny_config(features_of=str(tmp_path / "another")), progress=False)
    config = tiny_config(features_of=str(encoder_run), begin_with="policy")
    for source in ("another", "on_it"):
        with pytest.raises(ValueError, match="needs features of the encoder that the policy of .* has"):
            train(writable_store, tmp_path / "run", config, begin_from=tmp_path / source, progress=False)


@pytest.mark.parametrize("key", sorted(REMOVED_KEYS))
def test_a_removed_key_is_ignored_at_its_default_and_else_named(writable_store: Path, tmp_path: Path, key: str) -> None:
    assert run("--data", writable_store, "--out", tmp_path / "run", *TINY, "--steps", "1") == 0
    path, default = tmp_path / "run" / "config.yaml", REMOVED_KEYS[key][0]
    config, written = read_config(tmp_path / "run"), path.read_text()
    path.write_text(f"{written}{key}: {json.dumps(default)}\n")
    assert read_config(tmp_path / "run") == config
    load_run(tmp_path / "run")
    other = "true" if default is False else "3"
    path.write_text(f"{written}{key}: {other}\n")
    with pytest.raises(ValueError, match=f"{key}: .* is no key of this version"):
        read_config(tmp_path / "run")
    with pytest.raises(ValueError, match=f"{key}: .* is no key of this version"):
        make_config({key: 3})
