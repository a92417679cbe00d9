"""Promise: a run on a data set of OGBench begins with what was tuned for it, and says where that is from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from mqe_core.commands import train as command
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.run.config import read_values
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.tuned import TABLE, known_datasets, preset_of, require_dataset, tuned

STITCHED = {"actor_goal_trajectory": 0.5, "actor_goal_random": 0.5}
EXPLORED = {"actor_goal_trajectory": 0.0, "actor_goal_random": 1.0}
PIXELS = {"batch_size": 256, "steps": 500_000, "encoder": "impala_small"}

# Of the table of hyperparameters that OGBench publishes: set, agent, what it states (or is the default there).
OGBENCH: list[tuple[str, str, dict[str, Any]]] = [
    ("pointmaze-giant-stitch-v0", "gciql", {"alpha": 0.003, "discount": 0.995, **STITCHED, "batch_size": 1024}),
    ("pointmaze-giant-stitch-v0", "qrl", {"alpha": 0.0003, "discount": 0.995, **STITCHED}),
    ("pointmaze-medium-navigate-v0", "crl", {"alpha": 0.03, "discount": 0.99, "actor_goal_random": 0.0}),
    ("antmaze-large-explore-v0", "hiql", {"alpha": 10.0, "high_alpha": 10.0, "subgoal_steps": 25, **EXPLORED}),
    ("antmaze-large-explore-v0", "gciql", {"alpha": 0.01, "discount": 0.99}),
    ("antmaze-giant-stitch-v0", "qrl", {"alpha": 0.003, "discount": 0.995}),
    ("humanoidmaze-medium-navigate-v0", "hiql", {"alpha": 3.0, "subgoal_steps": 100, "discount": 0.995}),
    ("humanoidmaze-giant-stitch-v0", "gcbc", {"actor_goal_random": 0.0, "batch_size": 1024}),
    ("antsoccer-arena-stitch-v0", "crl", {"alpha": 0.3, **STITCHED}),
    ("cube-double-play-v0", "qrl", {"alpha": 0.3, "discount": 0.99}),
    ("scene-noisy-v0", "gciql", {"alpha": 0.03}),
    ("puzzle-4x4-play-v0", "hiql", {"alpha": 3.0, "subgoal_steps": 10, "representation_learns_from_actor": False}),
    ("puzzle-4x4-play-v0", "gcivl", {"alpha": 10.0, "expectile": 0.9}),
    ("visual-scene-play-v0", "crl", {"alpha": 3.0, "augment_probability": 0.5, **PIXELS}),
    ("visual-cube-triple-noisy-v0", "gcbc", {"augment_probability": 0.5, **PIXELS}),
    ("visual-antmaze-giant-stitch-v0", "hiql", {"representation_learns_from_actor": True, "augment_probability": 0.0}),
    ("visual-antmaze-giant-stitch-v0", "gciql", {"alpha": 0.3, "discount": 0.995, **STITCHED, **PIXELS}),
]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], str]:
    """The configuration that `mqe train --show-config` prints, and the text."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--show-config", *arguments])) == 0
    text = capsys.readouterr().out
    return yaml.safe_load(text), text


@pytest.mark.parametrize("dataset, agent, stated", OGBENCH)
def test_a_run_begins_with_what_was_tuned(
    dataset: str, agent: str, stated: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = shown(capsys, "--env", dataset, "--agent", agent)
    assert {name: config[name] for name in stated} == stated
    assert config["action_scale"] == "identity" and config["learning_rate"] == 3e-4


def test_what_was_taken_is_shown_with_its_source_and_can_be_overridden(capsys: pytest.CaptureFixture[str]) -> None:
    config, text = shown(capsys, "--env", "humanoidmaze-giant-stitch", "--set", "batch_size=64")
    assert config["alpha"] == 0.01 and config["batch_size"] == 64 and config["diagonal_weight"] == 0.3
    assert text.startswith("# mqe on humanoidmaze-giant-stitch-v0, beside ogbench_state:\n#   alpha: 0.01  (the paper")
    config, text = shown(capsys, "--env", "humanoidmaze-giant-stitch-v0", "--set", "alpha=1", "--agent", "gcbc")
    assert config["alpha"] == 1.0 and "#   nothing\n" in text


def test_every_row_of_the_table_is_of_some_set_and_says_what_its_agents_know() -> None:
    table = read_values(TABLE)
    used: set[str] = set()
    for dataset in known_datasets():
        preset = read_values(Path(preset_of(dataset)))
        for agent in AGENTS:
            found = tuned(dataset, agent)
            make_config({**keys_for(agent, preset), "agent": agent, **found.values})
            used |= set(found.sources.values())
    assert used == set(table["sources"].values())
    assert len(set(known_datasets())) == len(known_datasets())
    assert {key for row in table["rows"] for key in row} <= {"pattern", "source", "all", *AGENTS}


@pytest.mark.parametrize(
    "name, message",
    [
        ("pointmaze-gigantic-stitch-v0", "did you mean pointmaze-giant-stitch-v0"),
        ("antmaze-large-explor", "did you mean antmaze-large-explore-v0"),
        ("visual-pointmaze-giant-stitch-v0", "did you mean .*pointmaze-giant-stitch-v0"),
        ("powderworld-easy-play-v0", "no data set 'powderworld-easy-play-v0'"),
        ("pointmaze-giant-stitch-v1", "did you mean pointmaze-giant-stitch-v0"),
        ("???", "there are those of antmaze, antsoccer, cube, "),
        ("", "there are those of antmaze"),
    ],
)
def test_an_unknown_set_lists_the_near_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_dataset(name)


@pytest.mark.parametrize("agents", ["mqe", ["mqe"], {"mqe": 3}, {"mqee": {"alpha": 1}}])
def test_a_file_s_keys_of_single_agents_are_checked(agents: object) -> None:
    with pytest.raises(ValueError, match="^agents"):
        keys_for("mqe", {"agents": agents})
    assert keys_for("mqe", {"alpha": 1, "agents": {"mqe": {"alpha": 2}, "crl": {"alpha": 3}}}) == {"alpha": 2}
