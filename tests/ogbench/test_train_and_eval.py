"""`mqe train --env` and `mqe eval --run`, from files to figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.ogbench import evaluation, training
from mqe_core.ogbench.environments import make_environment
from mqe_core.ogbench.training import EnvironmentScore
from tests.ogbench.ogbench_files import make_arrays

TINY = ("hidden_dims=[16]", "latent_dim=16", "batch_size=8", "threads=1", "device=cpu", "log_every=2")
NAME = "pointmaze-medium-stitch-v0"


def train(data: Path, out: Path, *more: str, steps: int = 4, keys: tuple[str, ...] = ()) -> int:
    sets = [word for pair in (*TINY, *keys) for word in ("--set", pair)]
    return main(
        ["train", "--env", NAME, "--dataset", str(data), "--out", str(out), "--steps", str(steps), *sets, *more]
    )


class FakeScore(EnvironmentScore):
    """Counts, instead of an environment."""

    def __init__(self, name, episodes: int, seed: int) -> None:
        self.calls = 0

    def __call__(self, policy) -> dict[str, float]:
        action, _ = policy(*(np_to_torch(np.zeros((3, 2), np.float32)),) * 2)
        assert action.shape == (3, 2)
        self.calls += 1
        return dict.fromkeys(self.columns, self.calls / 8)


def np_to_torch(array):
    import torch

    return torch.from_numpy(array)


@pytest.fixture(autouse=True)
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_learns_from_a_file_and_tells_its_curve(
    maze_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EnvironmentScore", FakeScore)
    assert train(maze_file, tmp_path / "run", steps=8, keys=("eval_every=4",)) == 0
    assert [row["eval/success"] for row in rows(tmp_path / "run")] == ["", "0.125", "", "0.25"]
    assert train(maze_file, tmp_path / "plain", steps=8) == 0  # evaluation changes nothing of what is learned
    a, b = (load_checkpoint(tmp_path / run / "checkpoints" / "latest.pt")["agent"] for run in ("run", "plain"))
    assert all((a[name] == b[name]).all() for name in a)
    metadata = json.loads((tmp_path / "run" / "metadata.json").read_text())
    assert metadata["data"]["metadata"] == {"kind": "ogbench", "file": maze_file.name, "name": NAME}
    assert metadata["action_low"] == [-1.0, -1.0] and metadata["observation"]["state_dim"] == 2


def test_a_run_goes_on_without_being_told_its_data(maze_file: Path, tmp_path: Path) -> None:
    train(maze_file, tmp_path / "whole", steps=6)
    train(maze_file, tmp_path / "parts", steps=2)
    assert main(["train", "--resume", "--out", str(tmp_path / "parts"), "--steps", "6"]) == 0
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_every_agent_learns_from_it(maze_file: Path, tmp_path: Path) -> None:
    from mqe_core.learning.agents import AGENTS

    for agent in AGENTS:
        keys = tuple(key for key in TINY if key != "latent_dim=16" or agent in ("mqe", "tmd", "cmd", "crl", "qrl"))
        sets = [word for pair in keys for word in ("--set", pair)]
        command = ["train", "--env", NAME, "--dataset", str(maze_file), "--out", str(tmp_path / agent), "--steps", "2"]
        assert main([*command, "--agent", agent, *sets]) == 0, agent


def test_pixels(tmp_path: Path) -> None:
    arrays = make_arrays((6, 9), widths=(2, 5))
    arrays["observations"] = np.random.default_rng(0).integers(0, 256, (15, 64, 64, 3), dtype=np.uint8)
    np.savez(tmp_path / "visual-cube-single-play-v0.npz", **arrays)
    sets = [word for pair in (*TINY, "encoder=strided_small") for word in ("--set", pair)]
    command = ["train", "--env", "visual-cube-single-play-v0", "--dataset", str(tmp_path), "--steps", "2", *sets]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "metadata.json").read_text())["observation"]["kind"] == "pixels"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "store"], "--data is an episode store"),
        (["--set", "observation=pixels"], "the store has cameras"),
        (["--set", "action_scale=quantiles"], "leave it at identity"),
        (["--set", "landmark_weight=1"], "landmark_weight needs the states and actions of an arm"),
        (["--set", "gripper_opens_early=1"], "no number of an action is a gripper"),
        (["--set", "eval_every=3"], r"eval_every \(3\) must be a multiple of log_every \(2\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    maze_file: Path, tmp_path: Path, capsys, arguments: list[str], message: str
) -> None:
    import re

    assert train(maze_file, tmp_path / "run", *arguments) == 1
    assert re.search(message, capsys.readouterr().err)


def test_data_of_another_environment_is_refused(
    maze_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pytest.importorskip("ogbench")
    monkeypatch.undo()
    maze_file = maze_file.rename(tmp_path / "mine.npz")
    command = [
        "train",
        "--env",
        "antmaze-medium-stitch-v0",
        "--dataset",
        str(maze_file),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "antmaze-medium-v0 has states of 29 numbers and actions of 8" in error and "states of 2" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "RUN", "--env", "antmaze-giant-stitch-v0"], "has states of 29 numbers"),
        (["--run", "RUN", "--env", "antmaze-gaint-stitch-v0"], "did you mean antmaze-giant-stitch-v0"),
        (["--run", "RUN", "--out", "x"], "--out is of the simulator"),
        (["--run", "nothing"], "not a run folder"),
        (["--policy", "x.onnx", "--env", NAME], "--env is of OGBench"),
    ],
)
def test_eval_refuses_what_does_not_fit(
    maze_file: Path, tmp_path: Path, capsys, arguments: list[str], message: str
) -> None:
    pytest.importorskip("ogbench")
    train(maze_file, tmp_path / "run", steps=2)
    assert main(["eval", *(str(tmp_path / "run") if word == "RUN" else word for word in arguments)]) == 1
    assert message in capsys.readouterr().err


def test_a_run_is_evaluated_in_its_environment(
    maze_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pytest.importorskip("ogbench")
    monkeypatch.setattr(evaluation, "make_environment", lambda name: make_environment(name, max_episode_steps=20))
    train(maze_file, tmp_path / "run", steps=2)
    capsys.readouterr()
    results = []
    for _ in range(2):
        assert main(["eval", "--run", str(tmp_path / "run"), "--episodes", "1", "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1] and results[0]["step"] == 2 and len(results[0]["tasks"]) == 5
    assert results[0]["success"] == pytest.approx(np.mean(list(results[0]["tasks"].values())))
