"""Promise: a command in bad form, too old or from the wrong sender is refused by name; so is one for a faulty arm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mqe_core.robot import safety_rules as safety
from mqe_core.runtime.robot import MotorHealth
from tests.runtime.sending import refused, walk


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 3), (2, 3), (0, 0), (1, 2)])
def test_not_finite_pose_is_refused(robot, command, poison: float, where: tuple[int, int]) -> None:
    pose = robot.observe().target_pose.copy()
    pose[where] = poison
    assert refused(robot, command, pose=pose) == safety.NOT_FINITE


def test_not_finite_gripper_or_stamp_is_refused(robot, command) -> None:
    assert refused(robot, command, gripper=np.nan) == safety.NOT_FINITE
    assert refused(robot, command, stamp=np.nan) == safety.NOT_FINITE


def test_a_matrix_that_is_no_pose_is_refused(robot, command) -> None:
    target = robot.observe().target_pose
    mirrored, scaled, projective = target.copy(), target.copy(), target.copy()
    mirrored[:3, 0] *= -1
    scaled[:3, :3] *= 1.1
    projective[3] = [0, 0, 1, 1]
    for pose in (mirrored, scaled, projective, np.zeros((4, 4)), np.eye(3)):
        assert refused(robot, command, pose=pose) == safety.NOT_A_POSE


def test_another_frame_is_refused(robot, command) -> None:
    assert refused(robot, command, frame_id="map") == safety.WRONG_FRAME
    assert refused(robot, command, frame_id="") == safety.WRONG_FRAME


def test_stale_and_future_commands_are_refused(robot, command, clock, spec) -> None:
    age = spec.control.max_command_age_s
    assert refused(robot, command, stamp=clock.now() - age - 0.001) == safety.STALE
    assert refused(robot, command, stamp=clock.now() + 0.01) == safety.STALE
    assert refused(robot, command, stamp=clock.now() - age + 0.001) is None


def test_one_session_at_a_time_until_it_falls_silent(robot, command, clock, spec) -> None:
    assert refused(robot, command, session="a", sequence=5) is None
    clock.advance(0.2)
    assert refused(robot, command, session="b", sequence=1) == safety.WRONG_SESSION
    assert refused(robot, command, session="a", sequence=6) is None
    clock.advance(spec.control.max_command_age_s + 0.01)
    assert refused(robot, command, session="b", sequence=1) is None  # a restarted policy counts from one again
    clock.advance(0.2)
    assert refused(robot, command, session="a", sequence=7) == safety.WRONG_SESSION


def test_refused_intruders_do_not_keep_or_take_the_session(robot, command, clock, spec) -> None:
    assert refused(robot, command, session="a", sequence=1) is None
    for _ in range(4):
        clock.advance(spec.control.max_command_age_s / 3.9)
        last = refused(robot, command, session="b", sequence=1)
    assert last is None  # b's refused attempts did not prolong a


def test_out_of_order_and_repeated_commands_are_refused(robot, command, clock) -> None:
    assert refused(robot, command, sequence=10) is None
    clock.advance(0.2)
    assert refused(robot, command, sequence=10) == safety.OUT_OF_ORDER
    assert refused(robot, command, sequence=9) == safety.OUT_OF_ORDER
    clock.advance(10.0)
    assert refused(robot, command, sequence=9) == safety.OUT_OF_ORDER  # silence does not make an old message new
    assert refused(robot, command, sequence=11) is None


def test_commands_faster_than_twice_the_rate_are_refused(robot, command, clock) -> None:
    assert refused(robot, command) is None
    clock.advance(0.09)
    assert refused(robot, command) == safety.TOO_SOON
    clock.advance(0.02)
    assert refused(robot, command) is None


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"health": MotorHealth(ok=False, reason="shoulder overheats")}, safety.MOTORS),
        ({"joints": np.full(6, -np.pi)}, safety.JOINT_STATE),
        ({"joints": np.array([0, 0, np.nan, 0, 0, 0])}, safety.JOINT_STATE),
        ({"stamp": 99.0}, safety.STALE_STATE),
        ({"stamp": np.nan}, safety.STALE_STATE),
    ],
)
def test_a_faulty_arm_is_not_driven(robot, mock, command, monkeypatch, change: dict, rule: str) -> None:
    state = mock.observe()
    monkeypatch.setattr(mock, "observe", lambda: dataclasses.replace(state, **change))
    sent = robot.send(command(state))
    assert sent.refused == rule and robot.counts[rule] == 1


def test_an_arm_that_cannot_be_read_is_not_driven(robot, mock, command, monkeypatch) -> None:
    asked = command(mock.observe(), move=(0.01, 0, 0))
    target = mock.observe().target_pose

    def silent() -> None:
        raise RuntimeError("the bus is silent")

    with monkeypatch.context() as patch:
        patch.setattr(mock, "observe", silent)
        sent = robot.send(asked)
    assert sent.refused == safety.JOINT_STATE and "silent" in sent.detail
    np.testing.assert_array_equal(mock.observe().target_pose, target)


def test_a_command_that_was_never_judged_takes_no_session(robot, mock, command, clock, monkeypatch) -> None:
    assert walk(robot, command, clock, (0.005, 0, 0), 3)[-1].refused is None
    clock.advance(0.2)
    intruder = command(mock.observe(), session="intruder", sequence=1)

    def silent() -> None:
        raise RuntimeError("the bus is silent")

    with monkeypatch.context() as patch:
        patch.setattr(mock, "observe", silent)
        assert robot.send(intruder).refused == safety.JOINT_STATE
    assert walk(robot, command, clock, (0.005, 0, 0), 1)[0].refused is None


@pytest.mark.parametrize("session", ["a" * 257, "é" * 129, "\U0001f980" * 65, "a" * 10**6])
def test_a_session_of_more_than_256_bytes_is_refused(robot, command, session: str) -> None:
    assert refused(robot, command, session=session) == safety.LONG_SESSION
    assert refused(robot, command, session="a" * 256) is None


def test_after_a_resume_a_session_may_begin_anew(robot, command, clock) -> None:
    """One sequence beyond all others would lock it out for good."""
    assert refused(robot, command, session="a", sequence=2**64 - 1) is None
    clock.advance(0.2)
    assert refused(robot, command, session="a", sequence=5) == safety.OUT_OF_ORDER
    robot.hold()
    robot.resume()
    clock.advance(0.2)
    assert refused(robot, command, session="a", sequence=6) is None
    clock.advance(0.2)
    assert refused(robot, command, session="a", sequence=6) == safety.OUT_OF_ORDER
