"""`mqe train`: configuration files, overrides, and errors that say what to do."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mqe_core.commands import train as command
from mqe_core.data.episode_store import Episode, EpisodeWriter
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.checkpoint import load_checkpoint
from mqe_core.learning.config import PRESETS, read_values
from mqe_core.learning.networks import make_image_encoder
from mqe_core.learning.train import load_run, read_config, read_metadata
from mqe_core.learning.trainer import make_config

TINY = ["--set", "hidden_dims=[8]", "--set", "latent_dim=16", "--set", "components=2", "--set", "threads=1"]
TINY += ["--set", "observation=state", "--batch-size", "4"]


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_file_then_set_then_options(synthetic_store: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("alpha: 2\nlearning_rate: 1e-3\nsteps: 50\nseed: 5\n")
    arguments = ["--data", synthetic_store, "--out", tmp_path / "run", "--config", tmp_path / "run.yaml", *TINY]
    assert run(*arguments, "--set", "alpha=6", "--steps", "2") == 0
    config = read_config(tmp_path / "run")
    assert (config.agent.alpha, config.train.learning_rate, config.train.steps, config.train.seed) == (6.0, 1e-3, 2, 5)
    assert isinstance(config.agent.alpha, float)


def test_resume_continues_without_repeating_the_options(synthetic_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("--data", synthetic_store, "--out", out, *TINY, "--steps", "2", "--set", "alpha=6")
    assert run("--resume", "--out", out, "--steps", "3") == 0
    assert load_checkpoint(out / "checkpoints" / "latest.pt")["step"] == 3
    assert read_config(out).agent.alpha == 6.0
    with pytest.raises(ValueError, match="alpha cannot change"):
        run("--resume", "--out", out, "--set", "alpha=1")


def test_shown_configuration_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--show-config", "--set", "alpha=6", "--set", "hidden_dims=[64, 32]") == 0
    shown = capsys.readouterr().out
    assert "# weight of the behaviour-cloning term" in shown
    config = make_config(yaml.safe_load(shown))
    assert config.agent.alpha == 6.0 and config.agent.hidden_dims == (64, 32)
    assert config == make_config({"alpha": 6.0, "hidden_dims": [64, 32]})


@pytest.mark.parametrize("agent", sorted(AGENTS))
@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_presets_serve_every_agent(preset: str, agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--show-config", "--config", preset, "--agent", agent) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    preset_values = read_values(Path(preset))
    assert shown["agent"] == agent and shown["alpha"] == preset_values["alpha"]
    assert ("lambda_" in shown) is (agent == "mqe")


def test_a_key_that_no_agent_has_is_refused_in_a_file_and_one_of_another_agent_in_set(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lamda_: 0.9\n")
    with pytest.raises(ValueError, match="unknown configuration key 'lamda_'"):
        run("--show-config", "--config", tmp_path / "run.yaml", "--agent", "gcbc")
    with pytest.raises(ValueError, match="unknown configuration key 'lambda_'"):
        run("--show-config", "--agent", "gcbc", "--set", "lambda_=0.9")


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("alfa=1", "Did you mean 'alpha'"),
        ("zzz=1", "Known keys: "),
        ("alpha=much", "alpha must be a number, got 'much'"),
        ("alpha=true", "alpha must be a number"),
        ("steps=1.5", "steps must be a whole number"),
        ("encoder=resnet", "encoder must be one of impala_small"),
        ("hidden_dims=64", "a list of whole numbers"),
        ("encoder_bfloat16=1", "true or false"),
        ("discount=1.0", "strictly between 0 and 1"),
        ("latent_dim=100", "multiple of 2 \\* components"),
        ("actor_goal_random=0.5", "sum to 1"),
        ("agent=mqee", "agent must be one of mqe"),
        ("steps=0", "at least 1"),
        ("alpha", "expects key=value"),
    ],
)
def test_a_wrong_key_or_value_stops_with_the_reason(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("--show-config", "--set", assignment)


def test_missing_paths_are_named(tmp_path: Path, synthetic_store: Path) -> None:
    with pytest.raises(ValueError, match="give --out"):
        run("--data", synthetic_store)
    with pytest.raises(ValueError, match="give --data"):
        run("--out", tmp_path / "run")
    with pytest.raises(ValueError, match="mqe data import"):
        run("--data", tmp_path / "absent", "--out", tmp_path / "run")
    with pytest.raises(ValueError, match="the presets are .*sim_pixels"):
        run("--show-config", "--config", tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="flat mapping"):
        run("--show-config", "--config", tmp_path / "list.yaml")


def test_a_run_can_begin_with_the_weights_and_the_action_scale_of_another(
    synthetic_store: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("--data", synthetic_store, "--out", first, *TINY, "--steps", "3", "--set", "average_decay=0.5")
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "other", image_size=32, source="test", domain="sim") as writer:
        for i in range(4):  # other actions, whose own scale would be another
            writer.add(Episode(f"e{i}", rng.normal(size=(9, 7)), rng.normal(0, 0.5, size=(8, 7))))
    arguments = ["--data", tmp_path / "other", "--out", second, *TINY, "--steps", "1", "--set", "learning_rate=1e-12"]
    assert run(*arguments, "--init", first) == 0
    before, after = load_run(first)[0].state_dict(), load_run(second)[0].state_dict()
    for name, weights in before.items():
        torch.testing.assert_close(after[name], weights, atol=1e-9, rtol=1e-6)
    metadata = [read_metadata(path) for path in (first, second)]
    assert metadata[0]["action_low"] == metadata[1]["action_low"]
    assert metadata[1]["init"]["data"] == metadata[0]["data"]["fingerprint"] and metadata[0]["init"] is None


def test_a_run_interrupted_before_its_first_checkpoint_begins_with_those_weights_again(
    synthetic_store: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("--data", synthetic_store, "--out", first, *TINY, "--steps", "3")
    run(
        "--data",
        synthetic_store,
        "--out",
        second,
        *TINY,
        "--steps",
        "1",
        "--set",
        "learning_rate=1e-12",
        "--init",
        first,
    )
    (second / "checkpoints" / "latest.pt").unlink()
    assert run("--resume", "--out", second) == 0
    before, after = load_run(first)[0].state_dict(), load_run(second)[0].state_dict()
    for name, weights in before.items():
        torch.testing.assert_close(after[name], weights, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("agent", ["gcbc", "mqe"])
def test_frozen_convolutions_keep_the_weights_they_began_with(
    agent: str, synthetic_store: Path, tmp_path: Path
) -> None:
    """In every encoder of the agent, and when the run is continued."""
    first, second = tmp_path / "first", tmp_path / "second"
    pixels = ["--data", synthetic_store, "--agent", agent, "--batch-size", "4", "--set", "hidden_dims=[8]"]
    pixels += ["--set", "encoder=strided_small", "--set", "threads=1"]
    run(*pixels, "--out", first, "--steps", "2")
    run(*pixels, "--out", second, "--steps", "1", "--init", first, "--set", "frozen_convolutions=2")
    assert run("--resume", "--out", second, "--steps", "2") == 0
    before, after = load_run(first)[0].state_dict(), load_run(second)[0].state_dict()
    kept = {
        name.rpartition("convolutions.")[2]: torch.equal(before[name], after[name])
        for name in before
        if "convolutions." in name
    }
    assert {name for name, same in kept.items() if same} == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert len(kept) == 8


def test_convolutions_that_cannot_be_frozen_are_refused(synthetic_store: Path, tmp_path: Path) -> None:
    run("--data", synthetic_store, "--out", tmp_path / "states", *TINY, "--steps", "1")
    options = [
        "--data",
        synthetic_store,
        "--out",
        tmp_path / "second",
        "--set",
        "frozen_convolutions=5",
        "--steps",
        "1",
    ]
    with pytest.raises(ValueError, match="give them by --init"):
        run(*options)
    with pytest.raises(ValueError, match="sees state"):
        run(*options, *TINY, "--init", tmp_path / "states")
    with pytest.raises(ValueError, match="has 4 outer convolutions"):
        make_image_encoder("strided_small", 3, 32).freeze(5)


def test_weights_of_other_networks_are_refused(synthetic_store: Path, tmp_path: Path) -> None:
    run("--data", synthetic_store, "--out", tmp_path / "first", *TINY, "--steps", "1")
    other = [
        "--data",
        synthetic_store,
        "--out",
        tmp_path / "second",
        *TINY,
        "--steps",
        "1",
        "--init",
        tmp_path / "first",
    ]
    with pytest.raises(ValueError, match="the networks of .* are others"):
        run(*other, "--set", "hidden_dims=[16]")
    with pytest.raises(ValueError, match="holds mqe, not gcbc"):
        run("--data", synthetic_store, "--out", tmp_path / "third", "--agent", "gcbc", "--steps", "1", "--init", tmp_path / "first",
            "--set", "observation=state")  # fmt: skip
    with pytest.raises(ValueError, match="leave out --init"):
        run("--resume", "--out", tmp_path / "first", "--init", tmp_path / "first", "--steps", "2")
