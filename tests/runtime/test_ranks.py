"""Promise: an operator takes the arm from a policy without a jump, holds it by letting go, and only a resume gives it
back.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mqe_core.robot.ranks import NOBODY, OPERATOR, POLICY
from mqe_core.robot.safety_rules import FAULT, HELD, HOMING
from mqe_core.runtime.arm_side import MOVING, READY, ArmSide
from mqe_core.runtime.robot import MotorHealth

PERIOD_S = 0.2


@pytest.fixture
def side(robot, clock) -> ArmSide:
    return ArmSide(robot, clock)


@pytest.fixture
def send(side, command, clock):
    """One command of a rank, a control period later; its answer. Sequences of a session go up by themselves."""
    sequences: dict[str, int] = {}

    def send(rank: str, move=(0.01, 0, 0), seconds: float = PERIOD_S, session: str | None = None, **fields):
        clock.advance(seconds)
        session = session or f"{rank}-1"
        sequences[session] = sequences.get(session, 0) + 1
        asked = command(
            side.robot.observe(), move=move, **{"session": session, "sequence": sequences[session], **fields}
        )
        return side.receive(asked, rank)

    return send


def silence(side, clock, seconds: float = 0.6):
    report = None
    for _ in range(round(seconds / PERIOD_S)):
        clock.advance(PERIOD_S)
        report = side.tick()
    return report


def test_an_operator_takes_the_arm_from_a_running_policy_without_a_jump(side, send) -> None:
    for _ in range(3):
        before = send(POLICY)
    assert side.commander == POLICY
    taken = send(OPERATOR, move=(0.0, 0.004, 0.0))
    assert taken.refused is None and side.commander == OPERATOR
    np.testing.assert_allclose(taken.pose[:3, 3] - before.pose[:3, 3], [0, 0.004, 0], atol=1e-6)


def test_the_policy_is_refused_as_long_as_the_operator_has_the_arm(side, send, clock) -> None:
    send(POLICY)
    sent = send(OPERATOR)
    refused = send(POLICY, seconds=0.1)
    assert refused.refused == OPERATOR and "resume" in refused.detail
    assert side.tick().state == MOVING and side.reason == ""
    report = silence(side, clock)
    assert (report.state, side.commander) == (HELD, OPERATOR) and "let go" in report.reason
    assert send(POLICY).refused == OPERATOR
    np.testing.assert_array_equal(side.robot.observe().target_pose, sent.pose)


def test_after_two_periods_of_silence_the_arm_is_held(side, send, clock) -> None:
    send(OPERATOR)
    clock.advance(2 * PERIOD_S - 0.01)
    assert side.tick().state == MOVING
    clock.advance(0.02)
    assert side.tick().state == HELD


def test_only_a_resume_gives_the_arm_back(side, send, clock) -> None:
    send(POLICY)
    held = send(OPERATOR)
    silence(side, clock)
    side.resume()
    assert (side.state, side.commander) == (READY, NOBODY)
    again = send(POLICY)
    assert again.refused is None and side.commander == POLICY
    np.testing.assert_allclose(again.pose[:3, 3] - held.pose[:3, 3], [0.01, 0, 0], atol=1e-6)


def test_a_resume_waits_until_the_operator_lets_go(side, send) -> None:
    send(OPERATOR)
    with pytest.raises(RuntimeError, match="lets go"):
        side.resume()
    assert side.commander == OPERATOR and send(POLICY).refused == OPERATOR


def test_the_operator_goes_on_after_letting_go(side, send, clock) -> None:
    send(OPERATOR)
    silence(side, clock)
    assert send(OPERATOR).refused is None and side.state == MOVING


def test_a_second_operator_is_refused_until_the_first_has_let_go(side, send, clock) -> None:
    send(OPERATOR)
    second = send(OPERATOR, session="operator-2")
    assert second.refused == "wrong_session" and send(OPERATOR).refused is None
    silence(side, clock)
    assert send(OPERATOR, session="operator-2").refused is None
    assert send(OPERATOR).refused == "wrong_session"


def test_a_hold_stops_an_operator_too(side, send, clock) -> None:
    send(OPERATOR)
    side.hold()
    assert send(OPERATOR).refused == HELD and side.commander == NOBODY
    silence(side, clock)
    side.hold()  # also one that had let go
    assert send(OPERATOR).refused == HELD and send(POLICY).refused == HELD
    side.resume()
    assert send(OPERATOR).refused is None


def test_a_malformed_command_takes_nothing(side, send) -> None:
    send(POLICY)
    assert send(OPERATOR, pose=np.full((4, 4), np.nan)).refused == "not_finite"
    assert send(OPERATOR, frame_id="map").refused == "wrong_frame"
    assert side.commander == POLICY and send(POLICY, seconds=0.1).refused is None
    assert send(POLICY, session="policy-2").refused == "wrong_session"


def test_a_command_right_after_the_policys_takes_the_arm_and_the_next_moves_it(side, send) -> None:
    send(POLICY)
    assert send(OPERATOR, seconds=0.02).refused == "too_soon" and side.commander == OPERATOR
    assert send(POLICY, seconds=0.1).refused == OPERATOR
    assert send(OPERATOR, seconds=0.1).refused is None


def test_an_operator_who_pushes_against_a_limit_keeps_the_arm(side, send, mock, monkeypatch) -> None:
    send(OPERATOR)
    refuse = dataclasses.replace
    monkeypatch.setattr(mock, "send", lambda allowed: refuse(allowed, refused="path", detail="meets the table"))
    for _ in range(4):
        assert send(OPERATOR).refused == "path"
        assert side.tick().state == MOVING and side.reason == "path: meets the table"
    assert send(POLICY).refused == OPERATOR


def test_a_fault_ends_the_operators_turn(side, send, mock, monkeypatch) -> None:
    send(OPERATOR)
    observe = mock.observe
    hot = MotorHealth(ok=False, reason="waist is hot")
    monkeypatch.setattr(mock, "observe", lambda: dataclasses.replace(observe(), health=hot))
    assert send(OPERATOR).refused == "motors" and (side.state, side.commander) == (FAULT, NOBODY)
    monkeypatch.undo()
    side.tick()
    assert side.state == HELD and send(OPERATOR).refused == HELD


def test_an_operator_who_let_go_may_home_the_arm_and_keeps_it(side, send, clock, mock) -> None:
    send(OPERATOR)
    silence(side, clock)
    side.home()
    assert send(OPERATOR, seconds=0.1).refused == HOMING
    for _ in range(300):
        clock.advance(PERIOD_S)
        if side.tick().state == HELD:
            break
    assert side.state == HELD and side.reason.startswith("homing is done")
    assert send(POLICY).refused == OPERATOR and send(OPERATOR).refused is None


def test_a_held_arm_still_refuses_to_home(side, send) -> None:
    send(OPERATOR)
    side.hold()
    with pytest.raises(RuntimeError, match="resume"):
        side.home()


def test_who_commands_is_told_when_nobody_does(side, send, clock) -> None:
    assert side.commander == NOBODY
    send(POLICY)
    assert side.commander == POLICY
    silence(side, clock)
    assert (side.state, side.commander) == (READY, NOBODY)
