"""Promise: `mqe arm` and `mqe goal send` reach a running graph from a bare terminal, say how it went, and their exit
code tells it too; without a graph they end soon, with what to do.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_bringup.graph import build_graph
from mqe_bringup.process import node
from mqe_bringup.progress_line import ProgressLine
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import ArmStatus
from mqe_ros import convert
from tests.ros.ros_helpers import PATIENCE_S, STEPS_TO_GOAL, Client


def start(*arguments: str, **options: object) -> subprocess.Popen:
    """`mqe`, with its output in pipes."""
    command = [sys.executable, "-m", "mqe_core.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    try:
        said, complained = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, said, complained


def mqe(*arguments: str, **options: object) -> tuple[int, str, str]:
    return end(start(*arguments, **options))


@pytest.fixture
def arm(client: Client, tmp_path: Path) -> Iterator[Client]:
    """A client that hears a mock arm, folded asleep; no policy."""
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start([node("arm_node", {"backend": "mock"})])
    client.wait(lambda: supervisor.ended() or client.newest("/arm/status"), "the arm")
    yield client
    assert supervisor.stop() == {"arm_node": 0}, supervisor.log_tail("arm_node")


@pytest.fixture
def start_graph(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, client: Client, tmp_path: Path
) -> Iterator[Callable[..., Supervisor]]:
    """Starts the mock graph, without a goal, and waits until it takes one."""
    supervisors = []

    def start_it(**arguments: str) -> Supervisor:
        graph = build_graph(
            {"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store), **arguments}
        )
        supervisors.append(Supervisor(graph.environment, log_folder=tmp_path))
        supervisors[-1].start(graph.processes)
        client.wait(
            lambda: supervisors[-1].ended() or client.newest("/arm/status") and client.newest("/policy/status"),
            "the graph",
        )
        return supervisors[-1]

    yield start_it
    for supervisor in supervisors:
        codes = supervisor.stop()
        assert set(codes.values()) == {0}, {name: supervisor.log_tail(name) for name in codes}


def test_hold_lasts_until_resume(arm: Client) -> None:
    code, said, _ = mqe("arm", "hold")
    assert code == 0 and "mqe arm resume" in said
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.HELD, "the hold")
    code, said, _ = mqe("arm", "status")
    assert code == 0
    assert said.splitlines()[0] == "arm     held: operator"
    assert said.splitlines()[2].startswith("policy  says nothing")
    code, _, complained = mqe("arm", "home")
    assert code == 1 and complained.strip() == "mqe arm home: the arm is held (operator); resume it before homing"
    assert mqe("arm", "resume")[:2] == (0, "resumed at the held target\n")
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.READY, "the end of the hold")


def test_home_ends_when_the_arm_is_there(arm: Client) -> None:
    spec = load_robot_spec()
    for _ in range(2):  # where it is there already, too
        assert mqe("arm", "home") == (0, "homing; Ctrl-C holds the arm\nhome\n", "")
        arm.spin(0.3)
        pose = convert.pose_to_matrix(arm.newest("/arm/ee_pose").pose)
        np.testing.assert_allclose(pose, forward_kinematics(spec, spec.neutral_rad), atol=1e-3)


def test_ctrl_c_while_homing_holds_the_arm(arm: Client) -> None:
    homing = start("arm", "home")
    arm.wait(lambda: homing.poll() is not None or arm.newest("/arm/status").reason == "homing", "homing")
    homing.send_signal(signal.SIGINT)
    code, said, complained = end(homing)
    assert code == 130 and "holding" in said and complained == ""
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.HELD, "the hold")


def test_a_goal_that_is_reached_and_only_that_ends_with_0(
    start_graph: Callable[..., Supervisor], user_folder: Path
) -> None:
    graph = start_graph(reached_steps=str(STEPS_TO_GOAL + 1.0))
    code, said, _ = mqe(
        "goal", "send", "corner.png", cwd=user_folder / "goals"
    )  # a file there, which policy_node would not find
    first, *_, last = said.splitlines()
    assert code == 0 and first == f"sent {user_folder / 'goals' / 'corner.png'}; Ctrl-C cancels it"
    assert last.startswith("reached: within 8 steps of the goal for 3 commands (3 commands, ") and last.endswith(
        ", 7.0 steps to the goal)"
    )
    code, said, _ = mqe("goal", "send", "nowhere")
    assert code == 1 and said.startswith("failed: no goal 'nowhere'") and "known goals: corner.png" in said
    assert "policy  no goal; corner ended: reached" in mqe("arm", "status")[1]
    # A graph between two goals says what it waits for: once after each.
    assert (
        graph.log_tail("policy_node", lines=100).count("waiting for the next goal (mqe goal send NAME; Ctrl-C ends)")
        == 1
    )


def test_ctrl_c_cancels_the_goal(start_graph: Callable[..., Supervisor], client: Client) -> None:
    start_graph()
    sending = start("goal", "send", "corner")
    client.wait(lambda: sending.poll() is not None or len(client.heard["/policy/command"]) > 2, "a motion")
    assert f"policy  goal corner, running, {STEPS_TO_GOAL} steps to the goal" in mqe("arm", "status")[1]
    sending.send_signal(signal.SIGINT)
    code, said, complained = end(sending)
    assert (code, complained) == (130, "")
    sent, *running, ended = said.splitlines()
    running.remove("canceling the goal")  # between others, where feedback is still on its way
    assert running and all(line.startswith("running, 7.0 steps to the goal, command ") for line in running), said
    assert ended.startswith("canceled: by the client (")
    client.wait(lambda: client.newest("/policy/status").reason == "canceled: by the client", "the goal's end")
    code, said, _ = mqe("goal", "send", "corner", "--timeout", "1")
    assert code == 1 and f"timeout: the time is up; at the nearest {STEPS_TO_GOAL:.3g} steps to the goal" in said
    mqe("arm", "hold")
    code, said, _ = mqe("goal", "send", "corner", "--timeout", "1")
    *_, last = said.splitlines()
    assert "the arm refuses: held: operator; mqe arm resume lets it move (0 commands, " in last, said
    assert "commands were refused" in last
    mqe("arm", "resume")
    code, said, _ = mqe("goal", "send", "corner", "--timeout", "1")
    assert "refuse" not in said and "held" not in said  # what was refused before is over


def test_home_and_resume_tell_that_a_goal_is_in_force(start_graph: Callable[..., Supervisor], client: Client) -> None:
    start_graph(goal="corner")
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.MOVING, "a motion")
    code, said, complained = mqe("arm", "home")
    assert code == 0 and said.splitlines()[-1].startswith("home, and held, as commands keep coming in"), complained
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the hold")
    code, said, _ = mqe("arm", "resume")
    assert code == 0 and said.splitlines()[-1] == "the goal corner is in force: the arm moves on"
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.MOVING, "a motion")


def test_without_a_graph_each_says_so_soon() -> None:
    environment = {**os.environ, "ROS_DOMAIN_ID": "101"}  # conftest.py gives none to this one
    began = time.monotonic()
    asked = {
        name: start(*name.split(), env=environment)
        for name in ("arm hold", "arm resume", "arm home", "arm status", "goal send corner")
    }
    ended = {name: end(process) for name, process in asked.items()}
    assert time.monotonic() - began < 30.0  # 5 s, and the start of five at once
    for name, (code, said, complained) in ended.items():
        assert (code, said, complained.count("\n")) == (1, "", 2), complained
        command, missing = " ".join(name.split()[:2]), "policy_node" if "goal" in name else "arm_node"
        hint, complained = complained.splitlines()  # the first one after a second
        assert hint == f"no {missing} answers in ROS domain 101 yet: it hangs, or there is none"
        assert complained.startswith(f"mqe {command}: ")
        remedy = "cut the arm's power" if name == "arm hold" else "start a graph (mqe up goal:=NAME)"
        assert f"no {missing} answers in ROS domain 101: {remedy}, or set ROS_DOMAIN_ID" in complained
    assert "the arm may not be holding" in ended["arm hold"][2]


def test_a_ros_domain_that_is_none_is_refused_in_one_line() -> None:
    code, said, complained = mqe("arm", "hold", env={**os.environ, "ROS_DOMAIN_ID": "abc"})
    assert (code, said, complained.count("\n")) == (1, "", 1) and "ROS_DOMAIN_ID" in complained


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def feedback(steps: int, state: str = "running", reason: str = "") -> ReachGoal.Feedback:
    return ReachGoal.Feedback(steps_to_goal=4.0, steps=steps, state=state, reason=reason)


def test_on_a_terminal_the_progress_is_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "42")
    screen = Screen(terminal=True)
    line = ProgressLine([], screen)
    line.show(feedback(1))
    line.show(feedback(2, "waiting", "stale_frame: the newest image is 2.0 s old"))
    line.say("reached")
    assert screen.getvalue() == (
        "\r\x1b[Krunning, 4.0 steps to the goal, command 1\r\x1b[Kwaiting: stale_frame: the newest image is\nreached\n"
    )


def test_elsewhere_the_progress_is_a_line_now_and_then_and_at_each_change() -> None:
    screen, arm = Screen(terminal=False), []
    line = ProgressLine(arm, screen)
    for steps in (1, 2, 3):
        line.show(feedback(steps))
    arm.append(ArmStatus(state=ArmStatus.HELD, reason="operator"))
    line.show(feedback(4))
    line.show(feedback(4, "running", "the arm refuses: held: operator; mqe arm resume lets it move"))
    arm.append(ArmStatus(state=ArmStatus.READY, refused="held"))  # of an earlier command: nothing about this goal
    line.show(feedback(5))
    line.show(feedback(5, "running", "the arm refuses: path: the way to (1, 2, 3) mm …; mqe arm home frees it"))
    assert screen.getvalue().splitlines() == [
        "running, 4.0 steps to the goal, command 1",
        "the arm is held: operator; running, 4.0 steps to the goal, command 4",
        "running: the arm refuses: held: operator; mqe arm resume lets it move, 4.0 steps to the goal, command 4",
        "running, 4.0 steps to the goal, command 5",
        "running: the arm refuses: path: the way to (1, 2, 3) mm …; mqe arm home frees it, 4.0 steps to the goal, "
        "command 5",
    ]
