"""Promise: a goal is taken where the arm is out of the way, by the robot's camera, and never over another one; however
that ends, a real arm is parked, or said to stay up. A goal that is sent is found by the graph, wherever that was
started.
"""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mqe_core.workspace as workspace
from mqe_core.cli import main
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.policy.goals import check_camera, read_goal
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime import backends
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command, Frame, MotorHealth, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def real_store(tmp_path: Path) -> Path:
    """Two frames that are the same, said to be of a real camera."""
    frames = [PICTURE] * 2
    with EpisodeWriter(tmp_path / "store", image_size=32, source="test", domain="real") as writer:
        writer.add(Episode("one", np.zeros((2, 7)), np.zeros((1, 7)), {0: frames}))
    return tmp_path / "store"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MQE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def capture(store: Path, *more: str, name: str = "cup") -> int:
    return main(["goal", "capture", name, "--backend", "mock", "--camera", str(store), "--yes", *more])


def test_a_captured_goal_says_what_it_is_and_is_found_again(
    real_store: Path, home: Path, spec: RobotSpec, capsys: pytest.CaptureFixture
) -> None:
    assert capture(real_store, "--pose", "0.25", "0.05", "0.2") == 0
    goal = read_goal(home / "goals" / "cup.png")
    assert (goal.domain, goal.camera, goal.image.shape) == ("real", spec.camera.name, (32, 32, 3)) and (
        goal.image == PICTURE
    ).all()
    assert goal.capture_pose == (0.25, 0.05, 0.2, 0.0, 0.0, 0.0, 1.0)
    assert main(["goal", "show", "cup"]) == 0 and main(["goal", "list"]) == 0
    said = capsys.readouterr().out
    assert "hand at (0.250, 0.050, 0.200) m" in said and "drawer_place" in said


def test_a_goal_is_not_replaced_by_accident(real_store: Path, home: Path, capsys: pytest.CaptureFixture) -> None:
    assert capture(real_store) == 0 and capture(real_store) == 1
    assert "--force" in capsys.readouterr().err
    assert capture(real_store, "--force") == 0


@pytest.mark.parametrize("name", ["../r2", "a b/c", "", "cup.png", "cup\n", "tasse-é", "x" * 101])
def test_a_goals_name_is_a_name_and_no_path(
    real_store: Path, home: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    assert capture(real_store, name=name) == 1
    assert "made of letters" in capsys.readouterr().err and not home.exists()


def test_a_shipped_goal_is_hidden_only_on_request_and_the_list_says_so(
    real_store: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert capture(real_store, name="place") == 1
    assert "comes with this project" in capsys.readouterr().err and not home.exists()
    assert capture(real_store, "--out", str(tmp_path / "elsewhere"), name="place") == 0
    assert capture(real_store, "--force", name="place") == 0
    capsys.readouterr()
    assert main(["goal", "list"]) == 0
    mine, shipped = (line for line in capsys.readouterr().out.splitlines() if line.split()[0] == "place")
    hides = home / "goals" / "place.png"
    assert mine.endswith(f" {hides}") and shipped.endswith(f"mqe_bringup/goals/place.png (hidden by {hides})")


def test_a_store_of_the_sim_shows_no_scene_to_make_a_goal_of(
    synthetic_store: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(backends, "make_robot", lambda *_, **__: pytest.fail("an arm was connected"))
    assert capture(synthetic_store) == 1
    assert "mqe sim goal --task" in capsys.readouterr().err and not home.exists()


def test_a_pose_out_of_reach_is_refused_before_the_arm_moves(
    real_store: Path, home: Path, capsys: pytest.CaptureFixture
) -> None:
    assert capture(real_store, "--pose", "1", "0", "0.2") == 1
    assert "does not reach" in capsys.readouterr().err and not (home / "goals").exists()


def test_on_a_real_arm_the_tables_height_is_needed(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["goal", "capture", "cup", "--camera", "0", "--yes"]) == 1
    assert "--table-height METRES" in capsys.readouterr().err


class Lab(LoopbackRobot):
    """An arm that sleeps, its camera and its clock, which passes only in waits. `at(height, event)`: what happens once
    the hand is sent so high.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.time, self.moved, self.opened, self.healthy = 100.0, False, False, True
        self._event: tuple[float, Callable[[], None]] | None = None
        self.shows: Callable[[], Frame | None] = lambda: Frame(self.time, PICTURE, "real")
        super().__init__(spec, clock=self, start_joints=spec.sleep_rad)

    def now(self) -> float:
        return self.time

    def sleep_until(self, t: float) -> None:
        self.time = max(self.time, t)

    def at(self, height: float, event: Callable[[], None]) -> None:
        self._event = (height, event)

    def observe(self) -> RobotState:
        state = super().observe()
        return state if self.healthy else overloaded(state)

    def send(self, command: Command) -> Command:
        self.moved = True
        sent = super().send(command)
        if self._event is not None and command.pose[2, 3] > self._event[0]:
            (_, event), self._event = self._event, None
            event()
        return sent

    def read(self) -> Frame | None:
        return self.shows()

    @property
    def asleep(self) -> bool:
        return bool(np.abs(super().observe().joints - self._spec.sleep_rad).max() < 0.05)


def overloaded(state: RobotState) -> RobotState:
    return replace(state, health=MotorHealth(ok=False, reason="shoulder: hardware error 32 (overload)"))


@pytest.fixture
def lab(home: Path, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """`mqe goal capture` on a real arm, as far as the command can tell, at a terminal where Enter is pressed."""
    lab = Lab(spec)
    monkeypatch.setattr("mqe_core.runtime.robot.MonotonicClock", lambda: lab)
    monkeypatch.setattr(backends, "make_camera", lambda name, spec, **_: lab)
    monkeypatch.setattr(backends, "make_robot", lambda name, spec, clock: SafeRobot(lab, spec, clock))
    monkeypatch.setattr("sys.stdin", terminal("\n"))
    return lab


def terminal(typed: str) -> io.StringIO:
    stdin = io.StringIO(typed)
    stdin.isatty = lambda: True
    return stdin


def interrupt(*_) -> None:
    raise KeyboardInterrupt


def fail(reason: str) -> Callable:
    def failing(*_) -> None:
        raise RuntimeError(reason)

    return failing


dead_camera = fail("camera stopped delivering images")


CAPTURE = ["goal", "capture", "cup", "--camera", "0", "--table-height", "-0.02"]


def test_a_real_arm_is_parked_when_the_goal_is_taken(lab: Lab, home: Path) -> None:
    assert main(CAPTURE) == 0 and lab.moved and lab.asleep
    assert read_goal(home / "goals" / "cup.png").domain == "real"


def test_without_a_terminal_no_arm_moves(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for stdin in (io.StringIO("\n"), None):
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(CAPTURE) == 1 and not lab.moved
        assert "--yes" in capsys.readouterr().err
    assert main([*CAPTURE, "--yes"]) == 0


def test_before_a_camera_that_shows_nothing_no_arm_moves(lab: Lab, capsys: pytest.CaptureFixture) -> None:
    def black() -> Frame:
        return Frame(lab.time, np.zeros((48, 64, 3), np.uint8), "real")

    for shows, reason in (
        (dead_camera, "stopped delivering"),
        (lambda: None, "no new image"),
        (black, "the camera shows no goal: one even"),
    ):
        lab.shows = shows
        assert main(CAPTURE) == 1 and not lab.moved
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize("end", ["end of input", "Ctrl-C", "dead camera", "frozen camera"])
def test_an_arm_is_parked_where_the_goal_is_given_up(
    lab: Lab, home: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    if end == "end of input":
        monkeypatch.setattr("sys.stdin", terminal(""))
    elif end == "Ctrl-C":
        monkeypatch.setattr(builtins, "input", interrupt)
    else:
        frame = lab.read()
        monkeypatch.setattr(
            builtins, "input", lambda _: setattr(lab, "shows", dead_camera if end == "dead camera" else lambda: frame)
        )
    assert main(CAPTURE) == (130 if end == "Ctrl-C" else 1)
    assert lab.moved and lab.asleep and not (home / "goals").exists()


STOPS = {
    "Ctrl-C": (interrupt, "held (Ctrl-C)"),
    "fault": (lambda lab: setattr(lab, "healthy", False), "fault (motors: shoulder: hardware error 32 (overload))"),
    "error": (fail("the driver is gone"), "held (the driver is gone)"),
}


@pytest.mark.parametrize("event", STOPS)
def test_an_arm_that_stops_on_the_way_stays_and_that_is_said(
    lab: Lab, event: str, capsys: pytest.CaptureFixture
) -> None:
    stop, state = STOPS[event]
    lab.at(0.1, lambda: stop(lab))
    assert main(CAPTURE) == (130 if event == "Ctrl-C" else 1)
    said = capsys.readouterr()
    assert f"the arm is {state}: it stays where it is, under torque" in said.err and "parking" not in said.out
    assert not lab.asleep


def test_ctrl_c_while_it_parks_holds_the_arm(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(builtins, "input", lambda _: lab.at(0.1, interrupt))
    assert main(CAPTURE) == 130 and not lab.asleep
    said = capsys.readouterr()
    assert "parking the arm" in said.out and "the arm is held (Ctrl-C): it stays where it is, under torque" in said.err


def test_a_goal_of_another_camera_is_refused(real_store: Path, home: Path) -> None:
    capture(real_store)
    goal = read_goal(home / "goals" / "cup.png")
    check_camera(goal, goal.camera)
    with pytest.raises(ValueError, match="mqe goal capture"):
        check_camera(goal, "wrist")


def test_a_file_is_sent_by_its_whole_path_and_a_name_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(workspace, "run_in_workspace", lambda *arguments: sent.append(arguments))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cup.png").touch()
    main(["goal", "send", "cup.png", "--timeout", "30"])
    main(["goal", "send", "cup"])
    assert sent == [
        ("mqe_bringup.operate", "send", str(tmp_path / "cup.png"), "30.0"),
        ("mqe_bringup.operate", "send", "cup", "120.0"),
    ]


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf"])
def test_a_goal_is_not_sent_for_no_time_or_for_ever(timeout: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["goal", "send", "cup", f"--timeout={timeout}"]) == 1
    assert "--timeout must be a number of seconds greater than 0" in capsys.readouterr().err
