"""Each rule of the safety filter: what it refuses or clips, and that it says so by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mqe_core.geometry import euler_to_rotation, make_pose, state_to_pose
from mqe_core.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.runtime import safety_rules as safety
from mqe_core.runtime.loopback import LoopbackRobot
from mqe_core.runtime.robot import MotorHealth
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.runtime.safety import SafetyFilter
from mqe_core.runtime.table import HandClearance
from mqe_core.spec import with_table_height


def refused(robot, command, **fields) -> str | None:
    """Rule that refuses a command with these fields; the arm's target must then be what it was."""
    before = robot.observe()
    result = robot.send(command(before, **fields))
    after = robot.observe()
    if result.refused is not None:
        np.testing.assert_array_equal(after.target_pose, before.target_pose)
        assert after.target_gripper == before.target_gripper and result.joints is None and result.detail
    return result.refused


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
    result = robot.send(command(state))
    assert result.refused == rule and robot.counts[rule] == 1


def test_an_arm_that_cannot_be_read_is_not_driven(robot, mock, command, monkeypatch) -> None:
    asked = command(mock.observe(), move=(0.01, 0, 0))
    target = mock.observe().target_pose

    def silent() -> None:
        raise RuntimeError("the bus is silent")

    with monkeypatch.context() as patch:
        patch.setattr(mock, "observe", silent)
        result = robot.send(asked)
    assert result.refused == safety.JOINT_STATE and "silent" in result.detail
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


def walk(robot, command, clock, move, steps: int, **fields) -> list:
    results = []
    for _ in range(steps):
        clock.advance(0.2)
        results.append(robot.send(command(robot.observe(), move=move, **fields)))
    return results


@pytest.mark.parametrize(
    "move", [(0.04, 0, 0), (-0.04, 0, 0), (0, 0.04, 0), (0, -0.04, 0), (0, 0, 0.04), (0, 0, -0.04)]
)
def test_the_target_stops_at_the_workspace_box(robot, command, clock, spec, move) -> None:
    results = walk(robot, command, clock, move, 12)
    sent = [r for r in results if r.refused is None]
    positions = np.array([r.pose[:3, 3] for r in sent])
    assert (positions >= spec.workspace.low - 1e-6).all() and (positions <= spec.workspace.high + 1e-6).all()
    at_the_wall = [r for r in results if r.refused is not None or safety.WORKSPACE in r.clipped]
    assert at_the_wall  # the walk was long enough to get there
    for result in sent:
        np.testing.assert_allclose(result.pose, forward_kinematics(spec, result.joints), atol=1e-9)


def test_every_rule_stands_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "safety.md").read_text(encoding="utf-8")
    missing = [rule for rule in safety.CLIP_RULES + safety.REFUSE_RULES if f"`{rule}`" not in text]
    assert not missing and not set(safety.CLIP_RULES) & set(safety.REFUSE_RULES)


def test_a_way_that_bows_out_of_the_box_is_shortened(spec, command, clock) -> None:
    """Near the base a step to the side is an arc: its two ends are in the box, the way between them is not."""
    joints = inverse_kinematics(spec, state_to_pose([0.22, 0.0, 0.15, 0.0, 0.0, 0.0]), spec.neutral_joints)
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
    assert sent.pose[2, 3] > spec.workspace.low[2]  # it is the tilted hand that stops it, not the box


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
    sent = filter_.filter(asked, state, clock.now())
    assert sent.clipped == (safety.JOINT_VELOCITY,)
    assert (np.abs(sent.joints - joints) <= spec.joint_velocity * 0.2 + 1e-9).all()
    np.testing.assert_allclose(sent.pose, forward_kinematics(spec, sent.joints), atol=1e-9)
    assert np.linalg.norm(sent.joints - joints) > 0.05  # shortened, not stopped


def test_a_joint_speeds_up_no_faster_than_its_limit_and_may_always_stop(spec, command, clock) -> None:
    """Near the base, where a step to the side is a large turn of the waist; there and, as fast as that goes, back."""
    joints = inverse_kinematics(spec, state_to_pose([0.115, -0.10, 0.2, 0.0, 0.0, 0.0]), spec.neutral_joints)
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
    joints = spec.neutral_joints.copy()
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
    result = SafetyFilter(dataclasses.replace(spec, workspace=box)).filter(asked, state, clock.now())
    assert result.refused == safety.JOINT_LIMITS


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


def test_filter_changes_nothing_until_the_result_is_committed(spec, mock, command, clock) -> None:
    filter_, state = SafetyFilter(spec), mock.observe()
    asked = command(state, move=(0.2, 0, 0))
    first, second = filter_.filter(asked, state, clock.now()), filter_.filter(asked, state, clock.now())
    np.testing.assert_array_equal(first.pose, second.pose)
    filter_.commit(first, clock.now())
    assert filter_.filter(asked, state, clock.now()).refused == safety.OUT_OF_ORDER


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
