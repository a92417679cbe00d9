"""Promise: whatever becomes of an operator's pad or node, the arm holds within two control periods and stays the
operator's. By hand it goes on only after the dead-man was released and pressed again.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mqe_bringup.process import node
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand
from mqe_ros import topics
from tests.ros.faults.by_hand import ARM, LET_GO, WAIT, ByHand
from tests.ros.faults.fault_rig import HERE, HOLD_S, PERIOD_S, SPEC, Rig
from tests.ros.ros_helpers import Client

pytestmark = pytest.mark.faults


class Operated(ByHand):
    """The rig with an operator: a pad, and the node that listens to it."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        rig.add("pad", [sys.executable, str(HERE / "fault_pad.py")])
        self.start()

    def start(self) -> float:
        self.rig.add("teleop", node("teleop_node", {"pad": "gamepad"}).command)
        return time.monotonic()

    def pad(self, mode: str) -> float:
        return self.rig.set_mode("/fault_pad/mode", mode)

    def take(self) -> float:
        """The operator moves the arm, whoever did before. The moment of the press."""
        self.pad("rest")
        # One that starts needs a moment; seen at rest, it counts.
        end = time.monotonic() + 30.0
        while True:
            self.rig.client.spin(0.5)
            pressed = self.pad("drive")
            self.rig.client.spin(1.0)
            if self.status.commander == "operator" and self.status.state == ArmStatus.MOVING:
                self.rig.wait_for_motion(pressed)
                return pressed
            assert time.monotonic() < end, f"the operator does not get the arm: {self.rig.state()}"
            self.pad("rest")

    def stays_held(self, mode: str) -> None:
        """With that mode of the pad nothing moves."""
        self.nothing_moves(self.pad(mode))


@pytest.fixture(scope="module")
def operated(listener: Client, user_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    rig = Rig(listener, tmp_path_factory.mktemp("operator"))
    try:
        yield Operated(rig)
    finally:
        rig.close()


@pytest.fixture
def operator(operated: Operated) -> Iterator[Operated]:
    """The policy moves the arm; then the operator does."""
    rig_in_motion = operated.rig.in_motion()
    next(rig_in_motion)
    operated.take()
    for heard in operated.rig.client.heard.values():
        heard.clear()
    operated.rig.wait(lambda: operated.status and operated.rig.client.newest("/policy/status"), "both statuses")
    yield operated
    operated.pad("rest")
    operated.rig.wait(lambda: operated.status.state != ArmStatus.MOVING, "the operator's hold")
    next(rig_in_motion, None)


def test_the_policy_is_taken_over_in_mid_motion(operated: Operated, note) -> None:
    rig = operated.rig
    motion = rig.in_motion()
    next(motion)
    operated.take()
    operated.pad("rest")
    rig.wait(lambda: operated.status.state == ArmStatus.HELD, "the hold")
    rig.resume()
    rig.wait_for_motion()
    pressed = operated.pad("drive")
    rig.wait(lambda: operated.status.commander == "operator", "the take-over")
    taken = time.monotonic() - pressed
    rig.wait_for_reason(ARM, "operator")
    rig.wait_for_motion()
    pauses = rig.pauses(pressed)
    operated.pad("rest")
    rig.wait(lambda: operated.status.state == ArmStatus.HELD, "the operator's hold")
    next(motion, None)
    note(
        "an operator presses the dead-man while a policy drives",
        f"is his after {taken:.2f} s; longest pause {pauses.max():.2f} s",
        "operator (the policy's commands)",
        "waits for him or for /arm/resume",
    )
    assert taken <= HOLD_S + PERIOD_S and pauses.max() <= HOLD_S + PERIOD_S


def test_the_dead_man_is_released(operator: Operated, note) -> None:
    held = operator.holds(operator.pad("rest"))
    on = operator.goes_on()
    note("the dead-man is released", f"holds after {held:.2f} s", LET_GO, f"a press moves it on ({on:.1f} s in all)")
    assert held <= HOLD_S


def test_a_pad_that_is_unplugged(operator: Operated, note) -> None:
    held = operator.holds(operator.pad("unplugged"))
    operator.stays_held("drive")  # its driver tells the buttons as it knew them
    on = operator.goes_on()
    note("gamepad unplugged", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


def test_the_operators_node_is_killed(operator: Operated, note) -> None:
    held = operator.holds(operator.rig.kill("teleop"))
    operator.start()
    operator.rig.client.spin(3.0)
    operator.stays_held("drive")
    on = operator.goes_on()
    note("teleop process killed (SIGKILL), and started again", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


def test_the_operators_node_hangs(operator: Operated, note) -> None:
    held = operator.holds(operator.rig.kill("teleop", signal.SIGSTOP))
    operator.rig.kill("teleop", signal.SIGCONT)
    operator.stays_held("drive")
    on = operator.goes_on()
    note("teleop process hangs (SIGSTOP)", f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("past", "the pad's clock is an hour back"),
        ("future", "the pad's clock is an hour ahead"),
        ("zero", "the pad's driver does not stamp"),
    ],
)
def test_stamps_of_the_pad_do_not_matter(operator: Operated, note, mode: str, fault: str) -> None:
    begun = operator.pad(mode)
    operator.rig.client.spin(3.0)
    pauses = operator.rig.pauses(begun)
    held = operator.holds(operator.pad("rest"))
    note(fault, f"moves on; longest pause {pauses.max():.2f} s", "none needed", f"a release holds after {held:.2f} s")
    assert pauses.max() <= HOLD_S + PERIOD_S and held <= HOLD_S


@pytest.mark.parametrize(
    ("mode", "fault"),
    [("nan", "an axis is NaN"), ("huge", "an axis is 1e9"), ("another", "another pad on /joy")],
)
def test_a_message_that_no_pad_sends(operator: Operated, note, mode: str, fault: str) -> None:
    held = operator.holds(operator.pad(mode))
    operator.stays_held("drive")
    on = operator.goes_on()
    note(fault, f"holds after {held:.2f} s", LET_GO, WAIT.format(on))
    assert held <= HOLD_S


def test_a_second_operator(operator: Operated, note) -> None:
    """The first one keeps the arm; the other one's targets never reach a motor."""
    rig = operator.rig
    publisher = rig.client.publisher(topics.OPERATOR_COMMAND, 2)
    begun = time.monotonic()
    for sequence in range(1, 16):
        message = EndEffectorCommand(session="another", sequence=sequence, gripper=0.0)
        message.header.frame_id = SPEC.base_frame
        message.target = rig.client.newest("/arm/ee_pose").pose
        message.target.position.z += 0.05
        publisher.publish(message)
        rig.client.spin(0.13)
    rig.wait_for_reason(ARM, "wrong_session")
    pauses = rig.pauses(begun)
    rig.client.node.destroy_publisher(publisher)
    heights = [m.pose.position.z for m in rig.client.heard["/arm/ee_target"]]
    answer = f"follows the first; longest pause {pauses.max():.2f} s"
    note("a second operator", answer, "wrong_session", "nothing to recover from")
    assert pauses.max() <= HOLD_S + PERIOD_S and max(heights) - min(heights) < 0.005


def test_a_hold_wins_over_the_operator(operator: Operated, note) -> None:
    rig = operator.rig
    took = rig.ask("/arm/hold")
    held = rig.wait_for_hold(time.monotonic())
    rig.wait(lambda: operator.status.refused == "held", "the refusal")
    note(
        "/arm/hold while the operator drives",
        f"holds {held:.2f} s after the answer",
        f"held, answered in {1e3 * took:.0f} ms",
        "waits for /arm/resume, whoever presses",
    )
    assert held <= PERIOD_S and operator.status.commander == ""
