"""Promise: a goal is taken where the arm is out of the way, by the robot's camera, and never over another one; one that is sent is found by
the graph, wherever that was started.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.commands import up
from mqe_core.data.episode_store import Episode, EpisodeWriter
from mqe_core.goals import check_camera, read_goal
from mqe_core.spec import RobotSpec


@pytest.fixture
def real_store(tmp_path: Path) -> Path:
    """Two frames of one colour, said to be of a real camera."""
    frames = [np.full((32, 32, 3), 90, np.uint8)] * 2
    with EpisodeWriter(tmp_path / "store", image_size=32, source="test", domain="real") as writer:
        writer.add(Episode("one", np.zeros((2, 7)), np.zeros((1, 7)), {0: frames}))
    return tmp_path / "store"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MQE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def capture(store: Path, *more: str) -> int:
    return main(["goal", "capture", "cup", "--backend", "mock", "--camera", str(store), "--yes", *more])


def test_a_captured_goal_says_what_it_is_and_is_found_again(
    real_store: Path, home: Path, spec: RobotSpec, capsys: pytest.CaptureFixture
) -> None:
    assert capture(real_store, "--pose", "0.25", "0.05", "0.2") == 0
    goal = read_goal(home / "goals" / "cup.png")
    assert (goal.domain, goal.camera, goal.image.shape) == ("real", spec.camera.name, (32, 32, 3)) and (goal.image == 90).all()
    assert goal.capture_pose == (0.25, 0.05, 0.2, 0.0, 0.0, 0.0, 1.0)
    assert main(["goal", "show", "cup"]) == 0 and main(["goal", "list"]) == 0
    said = capsys.readouterr().out
    assert "hand at (0.250, 0.050, 0.200) m" in said and "drawer_place" in said


def test_a_goal_is_not_replaced_by_accident(real_store: Path, home: Path, capsys: pytest.CaptureFixture) -> None:
    assert capture(real_store) == 0 and capture(real_store) == 1
    assert "--force" in capsys.readouterr().err
    assert capture(real_store, "--force") == 0


def test_a_pose_out_of_reach_is_refused_before_the_arm_moves(real_store: Path, home: Path, capsys: pytest.CaptureFixture) -> None:
    assert capture(real_store, "--pose", "1", "0", "0.2") == 1
    assert "does not reach" in capsys.readouterr().err and not (home / "goals").exists()


def test_on_a_real_arm_the_tables_height_is_needed(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["goal", "capture", "cup", "--camera", "0", "--yes"]) == 1
    assert "--table-height METRES" in capsys.readouterr().err


def test_a_goal_of_another_camera_is_refused(real_store: Path, home: Path) -> None:
    capture(real_store)
    goal = read_goal(home / "goals" / "cup.png")
    check_camera(goal, goal.camera)
    with pytest.raises(ValueError, match="mqe goal capture"):
        check_camera(goal, "wrist")


def test_a_file_is_sent_by_its_whole_path_and_a_name_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(up, "run_in_workspace", lambda *arguments: sent.append(arguments))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.png").touch()
    main(["goal", "send", "cup.png", "--timeout", "30"])
    main(["goal", "send", "cup"])
    assert sent == [("mqe_bringup.operate", "send", str(tmp_path / "cup.png"), "30.0"), ("mqe_bringup.operate", "send", "cup", "120.0")]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_a_goal_is_not_sent_for_no_time_or_for_ever(timeout: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["goal", "send", "cup", f"--timeout={timeout}"]) == 1
    assert "--timeout must be a number of seconds greater than 0" in capsys.readouterr().err
