"""A run begins at random, with the weights of another run, or with its policy; a run that is there is continued."""

from __future__ import annotations

import argparse
import dataclasses
import json
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
from mqe_core.learning.run.train import train
from tests.learning.run.begun import NO_RATE, actions

Config = Callable[..., RunConfig]
TINY = ["--set", "hidden_dims=[8]", "--set", "latent_dim=16", "--set", "components=2", "--set", "threads=1"]
TINY += ["--set", "observation=state", "--batch-size", "4"]


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


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
