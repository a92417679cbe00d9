"""Promise: `mqe teleop` moves the arm by one bounded step at each press of a key, and holds it in between.

The real process in a pseudo-terminal, beside the mock graph.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from mqe_interfaces.msg import ArmStatus
from tests.ros.ros_helpers import PATIENCE_S, Client, reach, target
from tests.ros.terminal import MODULE, OFFERED, Terminal

STEP_M = 0.01  # of one press, at the speed at the start


@pytest.fixture
def terminal(homed: Client) -> Iterator[Terminal]:
    terminal = Terminal(homed)
    terminal.until(OFFERED)
    yield terminal
    terminal.close()
    homed.wait(lambda: homed.newest("/arm/status").state != ArmStatus.MOVING, "the arm's rest")
    homed.call("/arm/resume")


def held(client: Client) -> None:
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the hold")


def test_a_press_is_one_step_and_then_the_arm_is_held(terminal: Terminal, homed: Client) -> None:
    arm, before = homed, target(homed)
    terminal.press("f")
    arm.wait(lambda: arm.newest("/arm/status").commander == "operator", "the take-over")
    held(arm)
    assert arm.newest("/arm/status").sequence == 1 and "let go" in arm.newest("/arm/status").reason
    np.testing.assert_allclose(target(arm)[:3, 3] - before[:3, 3], [0, 0, -STEP_M], atol=1e-5)
    terminal.until("the arm is held: the operator let go")
    terminal.press("d" * 50)  # pasted, or a key that lies on
    arm.wait(lambda: arm.newest("/arm/status").sequence >= 2, "the second step")
    held(arm)
    assert arm.newest("/arm/status").sequence <= 3


def test_the_gripper_toggles_and_enter_resumes(terminal: Terminal, homed: Client) -> None:
    arm = homed
    first = arm.newest("/arm/status").target_gripper
    terminal.press("g")
    arm.wait(lambda: arm.newest("/arm/status").target_gripper == float(first <= 0.5), "the other opening")
    held(arm)
    terminal.press("\n")
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.READY, "the end of the hold")


def test_a_press_takes_the_arm_from_a_policy_and_space_holds_both(terminal: Terminal, homed: Client) -> None:
    arm = homed
    goal = reach(arm)
    goal.moving()
    terminal.press("r")
    held(arm)
    assert arm.newest("/arm/status").commander == "operator"
    terminal.press(" ")
    arm.wait(lambda: arm.newest("/arm/status").reason == "operator", "the hold")
    terminal.press("r")
    arm.wait(lambda: any(m.refused == "held" for m in arm.heard["/arm/status"]), "the refusal")
    terminal.until("the arm refuses: held: operator; mqe arm resume lets it move")
    goal.cancel()
    goal.result()


def test_a_recording_that_ended_is_said_to_whom_it_concerns(terminal: Terminal, homed: Client) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

    from mqe_ros import topics

    said = "recording stopped: [Errno 28] No space left on device"
    publisher = homed.publisher(topics.DIAGNOSTICS)

    def diagnose(name: str, level: bytes, message: str) -> None:
        publisher.publish(DiagnosticArray(status=[DiagnosticStatus(name=name, level=level, message=message)]))

    def everybody_diagnoses() -> None:
        diagnose("arm_node: control", DiagnosticStatus.ERROR, f"not {said}")
        diagnose("record_node: control", DiagnosticStatus.WARN, f"not {said}")
        diagnose("record_node: control", DiagnosticStatus.ERROR, said)

    terminal.until(said, again=everybody_diagnoses)
    everybody_diagnoses()
    homed.spin(0.5)
    terminal.hear()
    homed.node.destroy_publisher(publisher)
    assert terminal.said.count(said) == 1 and "not recording" not in terminal.said


def test_an_interrupt_ends_it_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    assert terminal.settings() != terminal.before
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(PATIENCE_S) == 130
    assert terminal.settings() == terminal.before


def test_without_a_terminal_it_says_so(homed: Client) -> None:
    done = subprocess.run(MODULE, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1 and "needs a terminal" in done.stderr
