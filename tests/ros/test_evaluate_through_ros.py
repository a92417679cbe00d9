"""Promise: the evaluation through ROS sums up what its scenes scored, in the form that `mqe compare` reads, and continues where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup import evaluate
from mqe_core.commands.compare import compare
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Scenes that were driven, in place of the graph: those with an even number succeed."""
    scenes: list[int] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        out, scene, task = (command[command.index(option) + 1] for option in ("--out", "--scene", "--task"))
        if int(scene) == FIRST_EVALUATION_SEED + 99:
            return subprocess.CompletedProcess(command, 1, "", "policy_node ended with exit code 1")
        scenes.append(int(scene))
        success = int(scene) % 2 == 0
        outcome = {"task": task, "score": 2.0 * success, "max_score": 2.0, "success": success}
        Path(out, f"{task}_{scene}.json").write_text(json.dumps(outcome))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(evaluate.subprocess, "run", run)
    return scenes


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    evaluate.main()


def test_scenes_are_summed_up_and_not_driven_twice(driven: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch, "--task", "place2", "--episodes", "3", "--seed", "4", "--out", str(tmp_path))
    assert driven == [FIRST_EVALUATION_SEED + 4 + i for i in range(3)]
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["episodes"], result["success_rate"], result["mean_score"], result["max_score"]) == (3, 2 / 3, 4 / 3, 2.0)
    assert compare([tmp_path], [tmp_path])["difference"] == 0.0
    call(monkeypatch, "--task", "place2", "--episodes", "5", "--seed", "4", "--out", str(tmp_path))
    assert driven == [FIRST_EVALUATION_SEED + 4 + i for i in range(5)]


def test_a_scene_that_fails_stops_with_its_reason(driven: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="scene 1000099: policy_node ended with exit code 1"):
        call(monkeypatch, "--episodes", "1", "--seed", "99", "--out", str(tmp_path))
