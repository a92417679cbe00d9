"""Promise: `mqe run` drives an arm behind a bridge_data_robot server, and moves none for a run that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.policy.goals import write_goal
from mqe_core.robot.spec import RobotSpec
from tests.runtime.bridge.fake_bridge_server import FakeBridgeServer


@pytest.fixture
def run_arguments(fake: FakeBridgeServer, make_bundle, spec: RobotSpec, tmp_path: Path) -> Callable[[str], list[str]]:
    """`mqe run` on the fake's arm with policy and goal of one domain, but for the table's height."""

    def build(domain: str) -> list[str]:
        goal = tmp_path / f"{domain}.png"
        scene = {"task": "place1", "seed": 0} if domain == "sim" else {}
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        write_goal(
            goal, picture, camera=spec.camera.name, domain=domain, capture_pose=[0.3, 0, 0.15, 0, 0, 0, 1], **scene
        )
        arguments = [
            "run",
            "--backend",
            "bridge-server",
            "--host",
            "127.0.0.1",
            "--port",
            str(fake.port),
            "--goal",
            str(goal),
        ]
        return [*arguments, "--policy", str(make_bundle(domain=domain))]

    return build


def test_no_arm_is_moved_for_a_run_that_is_refused(
    fake: FakeBridgeServer, run_arguments, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for domain, more, reason in (
        ("sim", [], "camera of the backend bridge-server shows real images"),
        ("real", ["--out", str(tmp_path / "full")], "already holds something"),
        ("real", ["--out", str(tmp_path / "full" / "file" / "below")], "file"),
        ("real", ["--seconds", "inf"], "--seconds"),
    ):
        assert main([*run_arguments(domain), "--table-height", "0", *more]) == 1
        assert reason in capsys.readouterr().err
    assert [request for request in fake.requests if request["type"] == "act"] == []


def test_mqe_run_drives_it(fake: FakeBridgeServer, run_arguments, capsys: pytest.CaptureFixture) -> None:
    arguments = [*run_arguments("real"), "--seconds", "2"]
    assert main(arguments) == 1 and "--table-height" in capsys.readouterr().err
    assert main([*arguments, "--table-height", "0"]) == 0
    assert len(fake.steps) >= 8 and all(0.0 < action[0] <= 0.02 for action in fake.steps)
    assert "bridge_data_robot server at 127.0.0.1" in capsys.readouterr().out
