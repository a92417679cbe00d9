"""Promise: a target stays in the box, above the table, one step away, and near an arm that does not follow."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mqe_core.robot import safety_rules as safety
from mqe_core.robot.geometry import euler_to_rotation, make_pose, state_to_pose
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.robot.spec import with_table_height
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.safety.table_clearance import HandClearance
from tests.runtime.sending import walk


@pytest.mark.parametrize(
    "move", [(0.04, 0, 0), (-0.04, 0, 0), (0, 0.04, 0), (0, -0.04, 0), (0, 0, 0.04), (0, 0, -0.04)]
)
def test_the_target_stops_at_the_workspace_box(robot, command, clock, spec, move) -> None:
    results = walk(robot, command, clock, move, 12)
    sent = [r for r in results if r.refused is None]
    positions = np.array([r.pose[:3, 3] for r in sent])
    assert (positions >= spec.workspace.low_m - 1e-6).all() and (positions <= spec.workspace.high_m + 1e-6).all()
    at_the_wall = [r for r in results if r.refused is not None or safety.WORKSPACE in r.clipped]
    assert at_the_wall  # the walk was long enough to get there
    for result in sent:
        np.testing.assert_allclose(result.pose, forward_kinematics(spec, result.joints), atol=1e-9)


def test_a_way_that_bows_out_of_the_box_is_shortened(spec, command, clock) -> None:
    """Near the base a step to the side is an arc: its two ends are in the box, the way between them is not."""
    joints = inverse_kinematics(spec, state_to_pose([0.22, 0.0, 0.15, 0.0, 0.0, 0.0]), spec.neutral_rad)
    tight = dataclasses.replace(
        spec,
        workspace=dataclasses.replace(spec.workspace, high_m=np.array([0.2201, 0.25, 0.25]), path_clearance_m=0.0001),
    )
    robot = SafeRobot(LoopbackRobot(tight, clock=clock, start_joints=joints), tight, clock)
    sent = robot.send(command(robot.observe(), move=(0.0, 0.05, 0.0)))
    assert sent.clipped == (safety.WORKSPACE,) and 0.001 < sent.pose[1, 3] < 0.03
    between = joints + np.linspace(0.0, 1.0, 50)[:, None] * (sent.joints - joints)
    assert (forward_kinematics(spec, between)[:, 0, 3] <= 0.2201).all()


def test_an_elbow_on_the_table_is_not_pressed_into_it(spec, command, clock) -> None:
    joints = np.array([0.0, 1.706, -1.955, 0.0, -1.418, 0.0])  # upper arm 6 mm above the table, hand 20 cm
    robot = SafeRobot(LoopbackRobot(spec, clock=clock, start_joints=joints), spec, clock)
    results = walk(robot, command, clock, (-0.02, 0.0, -0.02), 10, turn=euler_to_rotation(np.array([0.0, -0.1, 0.0])))
    assert any(result.clipped == (safety.TABLE,) for result in results)
    assert results[-1].refused == safety.PATH and "table" in results[-1].detail
    assert HandClearance(spec)(robot.observe().target_pose) > 0.1


def test_the_hand_stops_above_the_table_whatever_its_tilt(robot, command, clock, spec) -> None:
    for tilt in (0.0, 0.2, 0.2, 0.2):
        clock.advance(0.2)
        turn = euler_to_rotation(np.array([0.0, tilt, 0.0]))
        robot.send(command(robot.observe(), (0.0, 0.0, 0.0), turn=turn))
    for _ in range(8):
        clock.advance(0.2)
        sent = robot.send(command(robot.observe(), (0.0, 0.0, -0.04)))
        assert sent.refused is None
    assert "table" in sent.clipped
    assert HandClearance(spec)(sent.pose) == pytest.approx(0.0, abs=1e-6)
    assert sent.pose[2, 3] > spec.workspace.low_m[2]  # it is the tilted hand that stops it, not the box


def test_a_higher_table_stops_it_higher(spec, command, clock, start_joints) -> None:
    high = with_table_height(spec, 0.05)
    robot = SafeRobot(LoopbackRobot(high, clock=clock, start_joints=start_joints), high, clock)
    for _ in range(8):
        clock.advance(0.2)
        sent = robot.send(command(robot.observe(), (0.0, 0.0, -0.04)))
    assert HandClearance(spec)(sent.pose) == pytest.approx(0.05, abs=1e-6)


def test_a_hand_found_below_the_table_may_only_rise(spec, command, clock, start_joints) -> None:
    high = with_table_height(spec, 0.20)  # above where the arm is
    robot = SafeRobot(LoopbackRobot(high, clock=clock, start_joints=start_joints), high, clock)
    start = robot.observe().target_pose[2, 3]
    clock.advance(0.2)
    assert robot.send(command(robot.observe(), (0.0, 0.0, -0.02))).pose[2, 3] == pytest.approx(start, abs=1e-6)
    clock.advance(0.2)
    assert robot.send(command(robot.observe(), (0.0, 0.0, 0.02))).pose[2, 3] == pytest.approx(start + 0.02, abs=1e-6)


def test_a_long_step_is_shortened_along_its_direction(robot, command, spec) -> None:
    before = robot.observe().target_pose[:3, 3]
    sent = robot.send(command(robot.observe(), move=(0.10, 0.05, -0.02)))
    step = sent.pose[:3, 3] - before
    assert sent.clipped == (safety.TRANSLATION_STEP,)
    np.testing.assert_allclose(
        step, np.array([0.10, 0.05, -0.02]) * spec.control.max_translation_step_m / 0.10, atol=1e-6
    )


def test_a_large_turn_is_shortened_about_its_axis(robot, command, spec) -> None:
    before = robot.observe().target_pose[:3, :3]
    sent = robot.send(command(robot.observe(), turn=euler_to_rotation(np.array([0, 0, 1.0]))))
    assert sent.clipped == (safety.ROTATION_STEP,)
    expected = euler_to_rotation(np.array([0, 0, spec.control.max_rotation_step_rad])) @ before
    np.testing.assert_allclose(sent.pose[:3, :3], expected, atol=1e-6)


def test_a_half_turn_is_shortened_too(robot, command, spec) -> None:
    before = robot.observe().target_pose[:3, :3]
    sent = robot.send(command(robot.observe(), turn=euler_to_rotation(np.array([0, 0, np.pi]))))
    assert sent.clipped == (safety.ROTATION_STEP,)
    turned = sent.pose[:3, :3] @ before.T
    assert abs(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(spec.control.max_rotation_step_rad, abs=1e-6)


def test_steps_are_measured_from_what_was_sent_not_from_what_was_asked(robot, command, clock, spec) -> None:
    start = robot.observe().target_pose[:3, 3].copy()
    pose = make_pose(robot.observe().target_pose[:3, :3], start + [0.0, 0.12, 0.0])
    for k in range(1, 4):
        clock.advance(0.2)
        sent = robot.send(command(robot.observe(), pose=pose))
        assert sent.pose[1, 3] - start[1] == pytest.approx(min(0.05 * k, 0.12), abs=1e-6)


def test_the_target_does_not_run_away_from_a_blocked_arm(robot, mock, command, clock, spec, monkeypatch) -> None:
    here, limit = mock.observe(), spec.control.tracking_tolerance_m

    def blocked():
        return dataclasses.replace(LoopbackRobot.observe(mock), joints=here.joints, pose=here.pose)

    def lag() -> float:
        return float(np.linalg.norm(robot.observe().target_pose[:3, 3] - here.pose[:3, 3]))

    monkeypatch.setattr(mock, "observe", blocked)
    free, against = walk(robot, command, clock, (0.03, 0.0, 0.0), 2), walk(robot, command, clock, (0.03, 0.0, 0.0), 4)
    assert not any(sent.clipped for sent in free)  # up to the limit, and one step beyond it
    assert all(sent.clipped == (safety.WIND_UP,) for sent in against)
    assert limit < lag() == pytest.approx(0.06, abs=1e-6)
    before = robot.observe().target_pose[1, 3]
    aside = walk(robot, command, clock, (0.0, 0.02, 0.0), 1)[0]  # along what blocks it
    assert (
        aside.clipped == (safety.WIND_UP,)
        and aside.pose[1, 3] > before + 0.015
        and lag() == pytest.approx(0.06, abs=1e-6)
    )
    back = walk(robot, command, clock, (-0.01, 0.0, 0.0), 1)[0]
    assert back.clipped == () and lag() < 0.06 - 0.005
    monkeypatch.undo()
    clock.advance(1.0)
    assert walk(robot, command, clock, (0.01, 0.0, 0.0), 1)[0].clipped == ()


def test_outside_the_box_only_steps_back_into_it_are_sent(spec, command, clock) -> None:
    """An arm that was found outside (pushed by hand) is led back in steps, not in one jump."""
    joints = np.array([0.9, 0.02201, 0.18310, 0.0, 1.36568, 0.0])  # y = 0.235 m
    edge = 0.12
    narrow = dataclasses.replace(
        spec, workspace=dataclasses.replace(spec.workspace, high_m=np.array([0.45, edge, 0.25]))
    )
    robot = SafeRobot(LoopbackRobot(narrow, clock=clock, start_joints=joints), narrow, clock)
    beyond = [robot.observe().target_pose[1, 3] - edge]
    assert beyond[0] > 0.1
    for _ in range(6):
        clock.advance(0.2)
        sent = robot.send(command(robot.observe(), move=(0.0, 0.03, 0.0)))
        assert sent.refused is None and safety.WORKSPACE in sent.clipped
        beyond.append(sent.pose[1, 3] - edge)
    steps = -np.diff(beyond)
    assert (steps >= -1e-6).all() and (steps <= 0.05 + 1e-6).all() and beyond[-1] <= 1e-6
