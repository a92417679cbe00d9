"""Promise: who publishes beside the camera, the arm or its driver is named, and the arm holds while it does."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from mqe_core.robot.safety_rules import JOINT_STATE
from mqe_core.runtime.policy_reasons import WRONG_SHAPE
from tests.ros.faults.fault_rig import HOLD_S, PERIOD_S, Rig

pytestmark = pytest.mark.faults
ARM, POLICY = "/arm/status", "/policy/status"
LISTED_S = 10.0  # the profiles' lease


def intrude(rig: Rig, topic: str) -> float:
    """Publish beside the rig's own; the moment from which on messages may arrive."""
    rig.add("intruder", [sys.executable, str(Path(__file__).with_name("fault_intruder.py")), topic])
    count = rig.client.node.count_publishers
    before = count(topic)
    rig.wait(lambda: count(topic) > before, "the intruder's discovery")
    return time.monotonic()


@pytest.mark.parametrize("topic", ["/camera/image_raw", "/arm/ee_pose", "/arm/ee_target"])
def test_a_second_publisher_of_an_input(rig: Rig, note, topic: str) -> None:
    begun = intrude(rig, topic)
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(POLICY, f"2 publishers of {topic}: ")
    rig.wait_for_reason(POLICY, "/fault_intruder")
    back = rig.wait_for_motion(rig.kill("intruder", signal.SIGTERM))
    note(
        f"a second publisher of {topic}",
        f"holds after {held:.2f} s",
        f"2 publishers of {topic}: …",
        f"moves {back:.1f} s after it has ended",
    )
    assert held <= HOLD_S + PERIOD_S


def test_a_second_publisher_that_is_killed(rig: Rig, note) -> None:
    """ROS lists it for as long as its lease."""
    begun = intrude(rig, "/camera/image_raw")
    held = rig.wait_for_hold(begun)
    back = rig.wait_for_motion(rig.kill("intruder"))
    note(
        "a second publisher of the camera's topic that is killed (SIGKILL)",
        f"holds after {held:.2f} s",
        "2 publishers of /camera/image_raw: …",
        f"moves {back:.1f} s after that",
    )
    assert held <= HOLD_S + PERIOD_S and back < LISTED_S + 5.0


def test_a_second_publisher_of_joint_states(rig: Rig, note) -> None:
    begun = intrude(rig, "/wx250s/joint_states")
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(ARM, f"{JOINT_STATE}: 2 publishers of /wx250s/joint_states: /fault_intruder, /wx250s/xs_sdk")
    ended = rig.kill("intruder", signal.SIGTERM)
    rig.resume()
    back = rig.wait_for_motion(ended)
    note(
        "a second publisher of the driver's joint states",
        f"holds after {held:.2f} s",
        "joint_state: 2 publishers of …",
        f"waits for /arm/resume, then moves ({back:.1f} s in all)",
    )
    assert held <= HOLD_S


def test_a_camera_that_changes_its_size(rig: Rig, note) -> None:
    """64x48 after 128x96: the sides have the same ratio."""
    begun = rig.camera("half")
    held = rig.wait_for_hold(begun)
    rig.wait_for_reason(POLICY, f"{WRONG_SHAPE}: /camera/image_raw has changed from 128x96 to 64x48 pixels")
    back = rig.wait_for_motion(rig.camera("ok"))
    note("a camera that changes its size", f"holds after {held:.2f} s", WRONG_SHAPE, f"moves after {back:.2f} s")
    assert held <= HOLD_S
