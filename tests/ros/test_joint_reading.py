"""Promise: whatever a joint state holds, it becomes a reading of one arm, or a reason why it is none."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from mqe_ros.joint_reading import MOST_BYTES, read_joint_states

NAMES = ["waist", "shoulder", "left_finger"]


def reading(names: list[str], positions: list[float], **fields: object):
    return read_joint_states(serialize_message(JointState(name=names, position=positions, **fields)), 1.0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"header": Header(stamp=Time(sec=-1), frame_id="\n" * 50)},
        {"header": Header(stamp=Time(sec=-(2**31), nanosec=2**32 - 1))},
        {"velocity": [math.nan] * 3, "effort": [1.0] * 40},
    ],
    ids=["plain", "stamp", "first stamp", "velocities"],
)
def test_what_is_not_needed_is_not_looked_at(fields: dict[str, object]) -> None:
    found = reading(NAMES, [0.1, -0.2, 0.03], **fields)
    assert (found.problem, found.received, found.finger) == ("", 1.0, 0.03)
    assert found.positions == {"waist": 0.1, "shoulder": -0.2, "left_finger": 0.03}


def test_numbers_that_are_none_pass_on_to_who_judges_them() -> None:
    found = reading(["waist", "left_finger"], [math.nan, math.inf])
    assert math.isnan(found.positions["waist"]) and found.problem == ""
    assert math.isnan(reading([], []).finger)


@pytest.mark.parametrize(
    ("names", "positions", "problem"),
    [
        (NAMES, [0.1, 0.2], "3 names and 2 positions"),
        (NAMES, [0.1] * 4, "3 names and 4 positions"),
        (NAMES, [], "3 names and 0 positions"),
        ([*NAMES, "waist"], [0.1] * 4, "the joint 'waist' more than once"),
        ([f"j{k}" for k in range(65)], [0.0] * 65, "65 names and 65 positions"),
        (["a" * 20_000], [0.0], f"at most {MOST_BYTES} are"),
        ([], [0.0] * 1_000_000, f"at most {MOST_BYTES} are"),
    ],
    ids=["few", "many", "none", "twice", "joints", "name", "numbers"],
)
def test_what_contradicts_itself_says_nothing(names: list[str], positions: list[float], problem: str) -> None:
    found = reading(names, positions)
    assert problem in found.problem and found.positions == {} and len(found.problem) < 300


def test_bytes_that_are_no_joint_state_are_a_reason() -> None:
    whole = bytes(serialize_message(JointState(name=NAMES, position=[0.1, 0.2, 0.3])))
    broken = [whole[:length] for length in (0, 1, 4, 12, len(whole) // 2)]
    broken += [whole[:12] + b"\xff\xff\xff\x7f" + whole[16:], b"\xff" * len(whole)]
    for raw in broken:
        found = read_joint_states(raw, 1.0)
        assert found.problem and found.positions == {}
    assert b"waist" in whole
    assert "waist" not in read_joint_states(whole.replace(b"waist", b"\xffaist"), 1.0).positions
