"""`mqe train`: configuration files, overrides, and errors that say what to do."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import yaml

from mqe_core.commands import train as command
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.learning.run.config import PRESETS, read_values
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.run_folder import read_config

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
    with pytest.raises(ValueError, match="agent cannot change"):
        run("--resume", "--out", out, "--agent", "crl")
    with pytest.raises(ValueError, match="alpha cannot change"):
        run("--resume", "--out", out, "--set", "alpha=1")
    with pytest.raises(ValueError, match="batch_size cannot change"):
        run("--resume", "--out", out, "--batch-size", "8")


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
    stated = keys_for(agent, {"agent": agent, **read_values(Path(preset))})
    assert {name: shown[name] for name in stated} == {**stated, "agent": agent}
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
        ("agent=mqee", "agent must be one of mqe, .*, got 'mqee'; did you mean mqe"),
        ("agent=gcql", "did you mean gciql"),
        ("agent=zzz", "got 'zzz'$"),
        ("agent=7", "got 7$"),
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


def test_shown_keys_stand_under_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--show-config", "--agent", "tra") == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    groups = ["run", "data", "augmentation", "optimiser", "goals", "networks", "policy", "critic", "algorithm"]
    assert headings == [f"# --- {group} ---" for group in groups]
