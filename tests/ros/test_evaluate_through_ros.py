"""Promise: the evaluation through ROS sums up what its scenes scored, in the form that `mqe compare` reads, and
continues where it stopped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup import evaluate
from mqe_core.closed_loop.comparison import compare
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Scenes that were driven, in place of the graph: those with an even number succeed."""
    scenes: list[int] = []
    domains: list[int] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess:
        out, scene, task = (command[command.index(option) + 1] for option in ("--out", "--scene", "--task"))
        if int(scene) == FIRST_EVALUATION_SEED + 99:
            return subprocess.CompletedProcess(command, 1, "", "policy_node ended with exit code 1")
        scenes.append(int(scene))
        domains.append(int(env[evaluate.DOMAIN_VARIABLE]))
        time.sleep(0.02)
        success = int(scene) % 2 == 0
        outcome = {"task": task, "score": 2.0 * success, "max_score": 2.0, "success": success}
        Path(out, f"{task}_{scene}.json").write_text(json.dumps(outcome))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(evaluate.subprocess, "run", run)
    yield scenes
    assert all(0 <= domain <= 101 for domain in domains)


def call(monkeypatch: pytest.MonkeyPatch, policy: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--policy", str(policy), *arguments])
    evaluate.main()


def test_scenes_are_summed_up_and_not_driven_twice(
    driven: list[int], tmp_path: Path, make_bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, policy = tmp_path / "out", make_bundle()
    call(monkeypatch, policy, "--task", "place2", "--episodes", "3", "--seed", "4", "--out", str(out))
    assert driven == [FIRST_EVALUATION_SEED + 4 + i for i in range(3)]
    result = json.loads((out / "result.json").read_text())
    assert (result["episodes"], result["success_rate"], result["mean_score"], result["max_score"]) == (
        3,
        2 / 3,
        4 / 3,
        2.0,
    )
    assert compare([out], [out]).difference == 0.0
    call(monkeypatch, policy, "--task", "place2", "--episodes", "7", "--workers", "2", "--seed", "4", "--out", str(out))
    assert sorted(driven) == [FIRST_EVALUATION_SEED + 4 + i for i in range(7)]


def test_scenes_of_two_policies_are_not_mixed(
    driven: list[int], tmp_path: Path, make_bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, make_bundle(), "--episodes", "1", "--out", str(tmp_path / "out"))
    with pytest.raises(SystemExit, match="holds scenes of another policy"):
        call(
            monkeypatch, make_bundle(action=(0.02, 0, 0, 0, 0, 0, 1)), "--episodes", "1", "--out", str(tmp_path / "out")
        )


def test_a_scene_that_fails_stops_with_its_reason(
    driven: list[int], tmp_path: Path, make_bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="scene 1000099: policy_node ended with exit code 1"):
        call(monkeypatch, make_bundle(), "--episodes", "1", "--seed", "99", "--out", str(tmp_path / "out"))
