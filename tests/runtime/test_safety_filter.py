"""Promise: what the filter allows keeps the limits of gripper and joints, says what it changed, and is counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mqe_core.robot import safety_rules as safety
from mqe_core.robot.geometry import euler_to_rotation, state_to_pose
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.safety.safety_filter import SafetyFilter
from tests.runtime.sending import refused, walk


def test_a_harmless_command_passes_unchanged(robot, command) -> None:
    asked = command(
        robot.observe(),
        move=(0.01, -0.02, 0.005),
        turn=euler_to_rotation(np.array([0.05, -0.1, 0.2])),
        gripper=0.3,
    )
    sent = robot.send(asked)
    assert sent.refused is None and sent.clipped == () and sent.gripper == 0.3
    np.testing.assert_allclose(sent.pose, asked.pose, atol=1e-9)


def test_joints_that_would_have_to_jump_are_refused_from_rest_too(spec, command, clock) -> None:
    """At its limit the forearm gets to the nearest pose only by a whole turn back."""
    robot = SafeRobot(
        LoopbackRobot(
            spec, clock=clock, start_joints=np.array([0.2, -0.9, 1.25, spec.joints[3].lower_rad, -0.36, 2.6])
        ),
        spec,
        clock,
    )
    state = robot.observe()
    across = forward_kinematics(spec, state.joints + [0, 0, 0, -0.05, 0, 0])
    clock.advance(0.2)
    sent = robot.send(dataclasses.replace(command(state), pose=across))
    assert (sent.refused, sent.clipped) == (safety.JOINT_JUMP, ())
    assert "times what its limits allow" in sent.detail


def test_every_rule_stands_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    missing = [rule for rule in [*safety.CLIP_RULES, *safety.REFUSE_RULES] if f"`{rule}`" not in text]
    assert not missing and not set(safety.CLIP_RULES) & set(safety.REFUSE_RULES)


def test_the_gripper_is_clipped_into_its_range(robot, command, clock) -> None:
    for asked, expected in ((1.7, 1.0), (-0.2, 0.0)):
        clock.advance(0.2)
        sent = robot.send(command(robot.observe(), gripper=asked))
        assert sent.gripper == expected and sent.clipped == (safety.GRIPPER,)


def test_squeezing_fingers_close_no_farther_and_may_open(robot, mock, command, clock, spec, monkeypatch) -> None:
    walk(robot, command, clock, (0.0, 0.0, 0.0), 1, gripper=0.5)
    limit = spec.gripper.max_closing_effort_n
    efforts = [limit + 0.1]
    monkeypatch.setattr(
        mock, "observe", lambda: dataclasses.replace(LoopbackRobot.observe(mock), gripper_effort_n=efforts[-1])
    )
    over, under = limit + 0.1, limit - 0.1
    cases = (
        (over, 0.3, 0.5),
        (over, 0.5, 0.5),
        (under, 0.4, 0.4),
        (over, 1.0, 1.0),
        (over, 0.3, 0.3),
        (None, 0.2, 0.2),
    )  # open, it may close
    for effort, asked, expected in cases:
        efforts.append(effort)
        sent = walk(robot, command, clock, (0.0, 0.0, 0.0), 1, gripper=asked)[0]
        assert sent.gripper == expected and sent.clipped == (safety.GRIPPER_EFFORT,) * (asked != expected)


def test_fast_joints_shorten_the_step_and_the_pose_stays_what_the_joints_reach(robot, command, clock, spec) -> None:
    """Near the wrist's singularity (tool along the forearm) a small turn asks for a large forearm roll."""
    joints = np.array([0.0, -0.3, 0.3, 0.0, 0.02, 0.0])
    state = robot.observe()
    filter_ = SafetyFilter(spec)
    state = dataclasses.replace(
        state,
        joints=joints,
        pose=forward_kinematics(spec, joints),
        target_pose=forward_kinematics(spec, joints),
    )
    asked = command(state, turn=euler_to_rotation(np.array([0.0, 0.0, 0.2])))
    # The pose lies outside the box (the arm points forward): bring the box there, so that only velocity is at
    # stake.
    low, high = state.pose[:3, 3] - 0.2, state.pose[:3, 3] + 0.2
    wide = dataclasses.replace(
        spec,
        workspace=dataclasses.replace(spec.workspace, low_m=low, high_m=high),
        control=dataclasses.replace(spec.control, max_joint_acceleration_rad_per_s2=1e3),
    )
    filter_ = SafetyFilter(wide)
    allowed = filter_.judge(asked, state, clock.now()).allowed
    assert allowed.clipped == (safety.JOINT_VELOCITY,)
    assert (np.abs(allowed.joints - joints) <= spec.joint_velocity * 0.2 + 1e-9).all()
    np.testing.assert_allclose(allowed.pose, forward_kinematics(spec, allowed.joints), atol=1e-9)
    assert np.linalg.norm(allowed.joints - joints) > 0.05  # shortened, not stopped


def test_a_joint_speeds_up_no_faster_than_its_limit_and_may_always_stop(spec, command, clock) -> None:
    """Near the base, where a step to the side is a large turn of the waist; there and, as fast as that goes, back."""
    joints = inverse_kinematics(spec, state_to_pose([0.115, -0.10, 0.2, 0.0, 0.0, 0.0]), spec.neutral_rad)
    slow = dataclasses.replace(spec, control=dataclasses.replace(spec.control, max_joint_acceleration_rad_per_s2=8.0))
    most = 8.0 * 0.10 * 0.15  # s / (T_a (T - T_a)), docs/safety.md
    robot = SafeRobot(LoopbackRobot(slow, clock=clock, start_joints=joints), slow, clock)
    there, back = walk(robot, command, clock, (0.0, 0.05, 0.0), 3), walk(robot, command, clock, (0.0, -0.05, 0.0), 4)
    waist = np.diff([joints[0], *(sent.joints[0] for sent in there + back)])
    assert there[0].clipped == (safety.JOINT_ACCELERATION,)
    assert 0.8 * most < waist[0] <= most and waist[2] > 1.5 * most
    assert back[0].clipped == (safety.JOINT_ACCELERATION,) and waist[3] == 0.0  # too fast to turn round at once
    assert -most <= waist[4] < 0.0 and waist[5] < waist[4] and np.abs(np.diff(waist[3:])).max() <= most + 1e-9
    clock.advance(spec.control.profile_moving_time_s)
    again = walk(robot, command, clock, (0.0, -0.05, 0.0), 1)[0]  # after a pause from rest
    assert abs(again.joints[0] - back[-1].joints[0]) <= most


def test_a_pose_out_of_reach_is_refused(robot, command, clock, spec) -> None:
    # The far upper corner of the box with the tool down cannot be reached; the walk there must end by
    # refusal, not by a wrong pose.
    results = walk(robot, command, clock, (0.04, 0.0, 0.04), 10)
    assert results[-1].refused in (safety.UNREACHABLE, safety.JOINT_LIMITS)
    assert robot.counts[results[-1].refused] >= 1


def test_a_pose_beyond_a_joint_limit_is_named_so(spec, command, clock, robot) -> None:
    joints = spec.neutral_rad.copy()
    joints[4] = spec.joint_upper[4] - 0.02
    state = dataclasses.replace(
        robot.observe(),
        joints=joints,
        pose=forward_kinematics(spec, joints),
        target_pose=forward_kinematics(spec, joints),
    )
    box = dataclasses.replace(spec.workspace, low_m=state.pose[:3, 3] - 0.2, high_m=state.pose[:3, 3] + 0.2)
    over = joints.copy()
    over[4] = spec.joint_upper[4] + 0.1  # forward kinematics knows no limits
    asked = command(state, pose=forward_kinematics(spec, over))
    verdict = SafetyFilter(dataclasses.replace(spec, workspace=box)).judge(asked, state, clock.now())
    assert verdict.allowed is None and verdict.refusal.rule == safety.JOINT_LIMITS


def test_a_verdict_changes_nothing_until_what_was_sent_is_recorded(spec, mock, command, clock) -> None:
    filter_, state = SafetyFilter(spec), mock.observe()
    asked = command(state, move=(0.2, 0, 0))
    first, second = filter_.judge(asked, state, clock.now()), filter_.judge(asked, state, clock.now())
    np.testing.assert_array_equal(first.allowed.pose, second.allowed.pose)
    filter_.record(first, first.allowed)
    assert filter_.judge(asked, state, clock.now()).refusal.rule == safety.OUT_OF_ORDER


@pytest.mark.parametrize("answer", ["refused", "raised"])
def test_a_target_that_the_backend_does_not_take_is_not_believed(
    robot, mock, command, clock, spec, monkeypatch, answer: str
) -> None:
    walk(robot, command, clock, (0.01, 0.0, 0.0), 2)
    target = mock.observe().target_pose
    moved = mock.observe().joints + [0.3, 0, 0, 0, 0, 0]  # by hand

    def send(allowed: Command) -> Command:
        if answer == "raised":
            raise RuntimeError("the bus is silent")
        return dataclasses.replace(allowed, refused=safety.MOTORS, detail="the bus is silent")

    with monkeypatch.context() as patch:
        patch.setattr(mock, "_joints", moved)
        patch.setattr(mock, "send", send)
        with pytest.raises(RuntimeError, match="the bus is silent"):
            robot.rebase()
    clock.advance(0.2)
    sent = robot.send(command(mock.observe(), move=(0.01, 0.0, 0.0)))
    assert sent.refused is None and sent.clipped == ()
    np.testing.assert_allclose(sent.pose[:3, 3], target[:3, 3] + [0.01, 0.0, 0.0], atol=1e-9)


def test_what_the_sender_claims_is_not_trusted(robot, command) -> None:
    state = robot.observe()
    sent = robot.send(command(state, move=(0.12, 0, 0), joints=np.ones(6), clipped=("nonsense",), refused="nonsense"))
    assert sent.refused is None and sent.clipped == (safety.TRANSLATION_STEP,)
    assert not np.allclose(sent.joints, 1.0)


def test_every_clip_and_refusal_is_counted(robot, command, clock) -> None:
    refused(robot, command, gripper=np.nan)
    clock.advance(0.2)
    robot.send(command(robot.observe(), move=(0.12, 0, 0), gripper=2.0))
    assert robot.counts == {safety.NOT_FINITE: 1, safety.TRANSLATION_STEP: 1, safety.GRIPPER: 1}
