"""The arm's half: holds when commands stop, takes no orders while held, never walks down by holding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mqe_core.robot.geometry import euler_to_rotation, make_pose, state_to_pose
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.robot.safety_rules import FAULT, HELD
from mqe_core.runtime.arm_side import MOVING, READY, ArmSide
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.own_motion import CLEARANCE_M
from mqe_core.runtime.robot import MotorHealth
from mqe_core.runtime.safety.safe_robot import SafeRobot


@pytest.fixture
def side(robot, clock) -> ArmSide:
    return ArmSide(robot, clock)


def step(side, command, clock, move=(0.01, 0, 0), **fields):
    clock.advance(0.2)
    return side.receive(command(side.robot.observe(), move=move, **fields))


def test_ready_then_moving_then_ready_again_when_commands_stop(side, command, clock, robot, monkeypatch) -> None:
    assert side.tick().state == READY
    sent = step(side, command, clock)
    assert sent.refused is None and side.tick().state == MOVING
    holds = []
    monkeypatch.setattr(robot, "hold", lambda: holds.append(True))
    clock.advance(0.3)
    assert side.tick().state == MOVING and not holds
    clock.advance(0.2)
    report = side.tick()
    assert report.state == READY and "no command" in report.reason and len(holds) == 1
    side.tick()
    assert len(holds) == 1  # latched once
    np.testing.assert_allclose(report.arm.target_pose, sent.pose, atol=1e-9)


def test_a_command_that_was_received_too_long_ago_is_refused(side, command, clock) -> None:
    limit = side.robot.spec.control.max_command_age_s
    assert step(side, command, clock).refused is None
    received = clock.now() + 0.2
    clock.advance(limit + 0.01)
    assert step(side, command, clock, stamp=received).refused == "stale"
    assert step(side, command, clock).refused is None


def test_a_report_tells_the_outcome_once(side, command, clock) -> None:
    sent = step(side, command, clock, move=(0.12, 0, 0))
    report = side.tick()
    assert report.answer is sent and report.clipped == ("translation_step",) and "translation_step" in report.reason
    assert side.tick().answer is None


def test_a_refused_command_says_why_and_the_next_good_one_moves_on(side, command, clock) -> None:
    assert step(side, command, clock).refused is None
    assert step(side, command, clock, frame_id="map").refused == "wrong_frame"
    assert side.tick().reason.startswith("wrong_frame")
    assert step(side, command, clock).refused is None and side.tick().reason == ""


def test_held_ignores_commands_until_resume(side, command, clock, robot) -> None:
    step(side, command, clock)
    side.hold()
    target = robot.observe().target_pose
    sent = step(side, command, clock)
    assert sent.refused == HELD and side.tick().state == HELD
    np.testing.assert_array_equal(robot.observe().target_pose, target)
    assert "held target" in side.resume() and side.state == READY
    assert step(side, command, clock).refused is None


def test_hold_and_resume_again_and_again_do_not_lower_a_sagging_arm(spec, clock, start_joints, command) -> None:
    class Sagging(LoopbackRobot):
        """Gravity keeps the shoulder 0.03 rad below its target."""

        def observe(self):
            state = super().observe()
            joints = state.joints + np.array([0, 0.03, 0, 0, 0, 0])
            return dataclasses.replace(state, joints=joints, pose=forward_kinematics(spec, joints))

    robot = SafeRobot(Sagging(spec, clock=clock, start_joints=start_joints), spec, clock)
    side = ArmSide(robot, clock)
    step(side, command, clock)
    before = robot.observe()
    assert before.target_pose[2, 3] - before.pose[2, 3] > 0.005  # it does sag
    for _ in range(50):
        side.hold()
        clock.advance(0.2)
        side.tick()
        side.resume()
    np.testing.assert_array_equal(robot.observe().target_pose, before.target_pose)


def test_resume_rebases_an_arm_that_was_moved_by_hand(side, command, clock, robot, mock) -> None:
    step(side, command, clock)
    side.hold()
    mock._joints = mock._joints + np.array([0.4, 0, 0, 0, 0, 0])  # somebody pushes it 12 cm aside
    measured = mock.observe().pose
    assert "re-based" in side.resume()
    np.testing.assert_allclose(robot.observe().target_pose, measured, atol=1e-6)
    sent = step(side, command, clock)
    assert sent.refused is None
    assert np.abs(sent.pose[:3, 3] - measured[:3, 3]).max() < 0.02  # no jump back to the old target


def test_bad_motors_are_a_fault_that_ends_held(side, command, clock, robot, mock, monkeypatch) -> None:
    step(side, command, clock)
    good = mock.observe
    monkeypatch.setattr(mock, "observe", lambda: dataclasses.replace(good(), health=MotorHealth(False, "elbow hot")))
    report = side.tick()
    assert report.state == FAULT and "elbow hot" in report.reason
    assert step(side, command, clock).refused == FAULT
    with pytest.raises(RuntimeError, match="cannot resume.*elbow hot"):
        side.resume()
    with pytest.raises(RuntimeError, match="fault"):
        side.home()
    monkeypatch.setattr(mock, "observe", good)
    report = side.tick()
    assert report.state == HELD and "recovered" in report.reason
    assert step(side, command, clock).refused == HELD
    side.resume()
    assert step(side, command, clock).refused is None


def test_an_unreadable_arm_is_a_fault_not_an_exception(side, command, clock, mock, monkeypatch) -> None:
    asked = command(side.robot.observe())

    def silent() -> None:
        raise RuntimeError("bus is silent")

    monkeypatch.setattr(mock, "observe", silent)
    report = side.tick()
    assert report.state == FAULT and report.arm is None and "bus is silent" in report.reason
    side.hold()
    assert side.state == FAULT
    assert side.receive(asked).refused == FAULT


def test_homing_goes_up_first_and_ends_at_neutral(side, command, clock, robot, spec) -> None:
    for _ in range(5):
        step(side, command, clock, move=(0.0, 0.03, -0.03))
    low = robot.observe().target_pose[2, 3]
    side.home()
    heights, positions = [low], [robot.observe().target_pose[:3, 3]]
    for _ in range(60):
        clock.advance(0.2)
        report = side.tick()
        heights.append(report.arm.target_pose[2, 3])
        positions.append(report.arm.target_pose[:3, 3])
        if not side.moves_itself:
            break
    assert side.state == READY
    neutral = forward_kinematics(spec, spec.neutral_rad)
    np.testing.assert_allclose(robot.observe().target_pose, neutral, atol=2e-3)
    moved = np.abs(np.diff(positions, axis=0)).max(1)
    assert moved.max() <= spec.control.max_translation_step_m + 1e-6
    rising = np.array(heights) < CLEARANCE_M - 1e-3
    assert rising.any()
    sideways = np.linalg.norm(np.array(positions)[:, :2] - positions[0][:2], axis=1)
    assert (sideways[rising] < 1e-3).all()  # while below the clearance height it only rises


def test_after_homing_the_arm_does_not_set_off_by_commands_that_came_all_the_while(side, command, clock, robot) -> None:
    assert step(side, command, clock).refused is None
    side.home()
    while side.moves_itself:
        clock.advance(0.2)
        report = side.tick()
        refused = side.receive(command(report.arm)).refused
    assert refused == "held" and side.state == HELD and side.reason.startswith("homing is done")
    side.resume()
    assert step(side, command, clock).refused is None  # the policy's session goes on


def test_homing_arrives_from_anywhere_in_the_workspace(clock, spec) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        state = [*rng.uniform(spec.workspace.low_m, spec.workspace.high_m), *rng.normal(0.0, 0.1, 3)]
        joints = inverse_kinematics(spec, state_to_pose(state), spec.neutral_rad)
        if joints is None:
            continue
        side = ArmSide(SafeRobot(LoopbackRobot(spec, clock=clock, start_joints=joints), spec, clock), clock)
        side.tick()
        side.home()
        for _ in range(60):
            clock.advance(0.2)
            side.tick()
            if not side.moves_itself:
                break
        assert side.state == READY, (state, side.reason)


def test_parking_ends_asleep_from_anywhere_in_the_workspace(clock, spec) -> None:
    """All joints turn at once: by a straight line in space the arm would fold into itself."""
    rng = np.random.default_rng(1)
    down = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    starts = 0
    while starts < 20:
        rotation = euler_to_rotation(rng.uniform(-0.5, 0.5, 3)) @ down
        start = inverse_kinematics(
            spec, make_pose(rotation, rng.uniform(spec.workspace.low_m, spec.workspace.high_m)), spec.neutral_rad
        )
        if start is None or abs(start[0]) > 1.5:  # or a pose that reaches over its own shoulder
            continue
        starts += 1
        robot = SafeRobot(LoopbackRobot(spec, clock=clock, start_joints=start), spec, clock)
        side = ArmSide(robot, clock)
        side.park()
        for _ in range(100):
            clock.advance(0.2)
            side.tick()
            if not side.moves_itself:
                break
        assert side.state == READY, (start, side.reason)
        np.testing.assert_allclose(robot.observe().joints, spec.sleep_rad, atol=5e-3)


def test_every_motion_of_its_own_ends(clock, spec) -> None:
    """Where the wrist would have to turn over, with a reason."""
    for start in ([-0.039, -0.924, 1.368, -2.001, -0.31, 1.26], [-2.7, -1.02, -1.78, 2.73, 2.15, 0.01]):
        side = ArmSide(SafeRobot(LoopbackRobot(spec, clock=clock, start_joints=np.array(start)), spec, clock), clock)
        side.home()
        for _ in range(200):
            clock.advance(0.2)
            side.tick()
        assert not side.moves_itself and side.state == HELD and "homing" in side.reason


def test_homing_asked_for_right_after_a_command_waits_for_the_next_tick(side, command, clock) -> None:
    step(side, command, clock)
    clock.advance(0.02)
    side.home()
    side.tick()
    assert side.moves_itself
    clock.advance(0.2)
    side.tick()
    assert side.moves_itself and side.state == MOVING


def test_hold_ends_homing(side, command, clock) -> None:
    step(side, command, clock, move=(0, 0, -0.04))
    side.home()
    clock.advance(0.2)
    side.tick()
    side.hold()
    assert side.state == HELD and not side.moves_itself
    target = side.robot.observe().target_pose
    for _ in range(3):
        clock.advance(0.2)
        side.tick()
    np.testing.assert_array_equal(side.robot.observe().target_pose, target)


def test_homing_keeps_the_gripper(side, command, clock, robot) -> None:
    step(side, command, clock, move=(0, 0, -0.04), gripper=0.0)
    side.home()
    for _ in range(5):
        clock.advance(0.2)
        side.tick()
    assert robot.observe().target_gripper == 0.0
