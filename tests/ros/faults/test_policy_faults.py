"""Promise: whatever becomes of the policy's process, the arm holds within two control periods and follows the next good
one without a jump.
"""

from __future__ import annotations

import signal
import time

import pytest
from sensor_msgs.msg import Image

from mqe_interfaces.action import ReachGoal
from mqe_interfaces.msg import EndEffectorCommand
from mqe_ros import topics
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, SPEC, Rig
from tests.ros.ros_helpers import Goal

pytestmark = pytest.mark.faults
ARM, POLICY = "/arm/status", "/policy/status"
SILENCE = "no command for 0.4 s"


def test_a_policy_process_that_is_killed_and_started_again(rig: Rig, note) -> None:
    """Its sequence starts again, in a session of its own."""
    killed = rig.kill("policy")
    held = rig.wait_for_hold(killed)
    rig.wait_for_reason(ARM, SILENCE)
    before = rig.client.newest(POLICY).session
    back = rig.wait_for_motion(rig.start("policy"))
    assert rig.client.newest("/policy/command").session != before
    note(
        "policy process killed (SIGKILL)",
        f"holds after {held:.2f} s",
        SILENCE,
        f"moves {back:.1f} s after it is started again",
    )
    assert held <= HOLD_S


def test_a_policy_process_that_hangs(rig: Rig, note) -> None:
    """What it had computed before is not sent when it wakes up."""
    stopped = rig.kill("policy", signal.SIGSTOP)
    held = rig.wait_for_hold(stopped)
    rig.wait_for_reason(ARM, SILENCE)
    back = rig.wait_for_motion(rig.kill("policy", signal.SIGCONT))
    note("policy process hangs (SIGSTOP)", f"holds after {held:.2f} s", SILENCE, f"moves {back:.2f} s after it goes on")
    assert held <= HOLD_S


def test_a_policy_that_takes_500_ms(rig: Rig, note) -> None:
    """It is stopped for 0.5 s in nearly every period: what takes longer than a period is not sent."""
    begun = rig.kill("policy", signal.SIGSTOP)
    for _ in range(8):
        rig.client.spin(0.5)
        rig.kill("policy", signal.SIGCONT)
        rig.client.spin(0.05)
        rig.kill("policy", signal.SIGSTOP)
    moved = rig.motions(begun)
    back = rig.wait_for_motion(rig.kill("policy", signal.SIGCONT))
    note(
        "policy slow (500 ms of every 550 ms)",
        f"{len(moved)} commands in 4.4 s instead of 22",
        SILENCE,
        f"moves steadily after {back:.2f} s",
    )
    assert len(moved) <= 8  # at most the one that was in time, each time it woke up
    rig.wait_for_reason(ARM, SILENCE)


def test_a_second_publisher_of_commands(rig: Rig, note) -> None:
    """The first session keeps the arm; the other one's targets never reach a motor."""
    publisher = rig.client.publisher(topics.COMMAND, 2)
    begun, sent = time.monotonic(), 0
    for _ in range(15):
        message = EndEffectorCommand(session="intruder", sequence=sent, gripper=0.0)
        message.header.frame_id = SPEC.base_frame
        message.target = rig.client.newest("/arm/ee_pose").pose
        message.target.position.z += 0.05
        publisher.publish(message)
        sent += 1
        rig.client.spin(0.13)
    rig.wait_for_reason(ARM, "wrong_session")
    pauses = rig.pauses(begun)
    rig.client.node.destroy_publisher(publisher)
    heights = [m.pose.position.z for m in rig.client.heard["/arm/ee_target"]]
    answer = f"follows the first; longest pause {pauses.max():.2f} s"
    note("a second publisher on /policy/command", answer, "wrong_session", "nothing to recover from")
    assert pauses.max() <= HOLD_S + PERIOD_S and max(heights) - min(heights) < 0.005


@pytest.mark.parametrize(
    ("encoding", "height", "data"),
    [("mono16", 4, bytes(48)), ("rgb8", 4, bytes(5)), ("rgb8", 0, b"")],
    ids=["encoding", "short", "empty"],
)
def test_a_malformed_goal_image_ends_nothing_but_itself(
    rig: Rig, note, encoding: str, height: int, data: bytes
) -> None:
    begun = time.monotonic()
    goal = ReachGoal.Goal(
        goal_image=Image(encoding=encoding, height=height, width=4, step=12, data=data), timeout_s=5.0
    )
    ended = Goal(rig.client, goal).result()
    rig.client.spin(1.0)
    assert ended.outcome == ReachGoal.Result.FAILED and ended.reason
    assert rig.pauses(begun).max() <= HOLD_S + PERIOD_S
    note(
        f"a malformed goal image ({encoding}, {len(data)} bytes)",
        "goes on with the goal in force",
        ended.reason[:60],
        "nothing to recover from",
    )
