"""The control loop: absolute deadlines, counted misses, and never a motion on what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.runtime import policy_reasons
from mqe_core.runtime.control_loop import ControlLoop, StepResult
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicyOutput, PolicySide, StickyGripper
from mqe_core.runtime.robot import Frame

IMAGE = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
IMAGE[:, :, 0] = 0  # the tiny bundle's action depends on red


class ScriptedPolicy:
    """Answers what a test wrote down; takes `seconds` of the fake clock for it."""

    domain = "sim"

    def __init__(self, clock, action=(0.01, 0, 0, 0, 0, 0, 1), seconds: float = 0.01) -> None:
        self.clock, self.action, self.seconds, self.calls = (
            clock,
            np.array(action, dtype=np.float32),
            seconds,
            0,
        )

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        self.calls += 1
        self.clock.advance(self.seconds)
        return PolicyOutput(self.action, 3.0)


class ScriptedCamera:
    """Fresh frames, unless the test takes them away."""

    def __init__(self, clock) -> None:
        self.clock, self.frame, self.age, self.domain, self.count = clock, True, 0.0, "sim", 0

    def read(self) -> Frame | None:
        self.count += 1  # no two pictures of a camera are the same
        return (
            Frame(self.clock.now() - self.age, IMAGE + np.array([0, self.count % 2, 0], np.uint8), self.domain)
            if self.frame
            else None
        )

    def close(self) -> None:
        pass


@pytest.fixture
def policy(clock) -> ScriptedPolicy:
    return ScriptedPolicy(clock)


@pytest.fixture
def camera(clock) -> ScriptedCamera:
    return ScriptedCamera(clock)


@pytest.fixture
def side(policy, spec, clock) -> PolicySide:
    side = PolicySide(policy, spec, clock, gripper=StickyGripper(0.5, 1))
    side.set_goal(IMAGE, "sim")
    return side


@pytest.fixture
def loop(robot, camera, side, clock, spec) -> ControlLoop:
    return ControlLoop(robot, camera, side, clock, spec.control.control_hz)


def collect(loop: ControlLoop, steps: int) -> list[StepResult]:
    results: list[StepResult] = []
    assert loop.run(steps, results.append) == steps
    return results


def test_each_step_moves_the_target_by_the_action(loop, robot) -> None:
    start = robot.observe().target_pose[:3, 3].copy()
    results = collect(loop, 5)
    positions = np.array([r.answer.pose[:3, 3] for r in results])
    np.testing.assert_allclose(positions - start, [[0.01 * k, 0, 0] for k in range(1, 6)], atol=1e-6)
    assert [r.kept_because for r in results] == [None] * 5 and [r.step for r in results] == list(range(5))


def test_deadlines_are_absolute(loop, policy, clock) -> None:
    policy.seconds = 0.137  # work that varies must not add up
    results = collect(loop, 20)
    deadlines = np.array([r.deadline for r in results])
    np.testing.assert_allclose(deadlines, deadlines[0] + 0.2 * np.arange(20), atol=1e-9)
    assert max(r.late_s for r in results) < 1e-9 and loop.deadline_misses == 0


def test_a_missed_deadline_is_counted_and_skipped_not_caught_up(loop, policy, clock, robot) -> None:
    results = [loop.step()]
    policy.seconds = 0.43  # ends past two further deadlines
    results.append(loop.step())
    policy.seconds = 0.01
    results += [loop.step() for _ in range(3)]
    offsets = [r.deadline - results[0].deadline for r in results]
    np.testing.assert_allclose(offsets, [0.0, 0.2, 0.8, 1.0, 1.2], atol=1e-9)
    assert loop.deadline_misses == 1
    assert [r.kept_because for r in results] == [None, policy_reasons.LATE, None, None, None]


def test_a_step_as_long_as_the_period_is_no_miss(loop, policy) -> None:
    policy.seconds = 0.2
    collect(loop, 5)
    assert loop.deadline_misses == 0


def test_no_frame_means_no_inference_and_a_held_arm(loop, camera, policy, robot) -> None:
    collect(loop, 2)
    target, calls = robot.observe().target_pose, policy.calls
    camera.frame = False
    results = collect(loop, 3)
    assert [r.kept_because for r in results] == [policy_reasons.NO_FRAME] * 3 and policy.calls == calls
    assert all(r.frame is None and r.answer is None for r in results)
    np.testing.assert_array_equal(robot.observe().target_pose, target)
    camera.frame = True
    assert collect(loop, 1)[0].kept_because is None  # and it goes on by itself


def test_a_frozen_camera_holds_the_arm(loop, camera, robot) -> None:
    camera.age = 0.36
    target = robot.observe().target_pose
    assert collect(loop, 1)[0].kept_because == policy_reasons.STALE_FRAME
    np.testing.assert_array_equal(robot.observe().target_pose, target)


def test_without_a_goal_nothing_moves(loop, side, policy) -> None:
    side.clear_goal()
    assert collect(loop, 2)[1].kept_because == policy_reasons.NO_GOAL and policy.calls == 0


def test_an_action_that_is_not_finite_holds_the_arm(loop, policy, robot) -> None:
    policy.action = np.array([0.01, np.nan, 0, 0, 0, 0, 1], dtype=np.float32)
    target = robot.observe().target_pose
    assert collect(loop, 1)[0].kept_because == policy_reasons.NOT_FINITE_ACTION
    np.testing.assert_array_equal(robot.observe().target_pose, target)


def test_the_log_has_what_was_sent_not_what_was_asked(loop, policy, robot) -> None:
    policy.action = np.array([0.12, 0, 0, 0, 0, 0, 1], dtype=np.float32)
    before = robot.observe().target_pose[0, 3]
    result = collect(loop, 1)[0]
    assert result.answer.clipped == ("translation_step",)
    assert result.answer.pose[0, 3] - before == pytest.approx(0.05, abs=1e-6)
    assert result.decision.asked.pose[0, 3] - before == pytest.approx(0.12, abs=1e-6)
    assert result.decision.output.action[0] == np.float32(0.12)


def test_a_refused_command_is_reported_with_its_rule(loop, policy) -> None:
    policy.seconds = 0.0
    policy.action = np.array([0.05, 0, 0.05, 0, 0, 0, 1], dtype=np.float32)  # towards the corner that cannot be reached
    results = collect(loop, 12)
    assert (
        results[-1].kept_because in ("unreachable", "joint_limits")
        and results[-1].answer.refused == results[-1].kept_because
    )


def test_frames_of_another_domain_stop_the_run_and_hold(loop, camera, robot, monkeypatch) -> None:
    holds = []
    monkeypatch.setattr(robot, "hold", lambda: holds.append(True))
    camera.domain = "real"
    with pytest.raises(ValueError, match="real images.*trained on sim.*--domain real"):
        loop.run(3)
    assert holds


def test_a_goal_of_another_domain_is_refused(side) -> None:
    with pytest.raises(ValueError, match="goal image shows real images"):
        side.set_goal(IMAGE, "real")
    with pytest.raises(ValueError, match="domain must be one of"):
        side.set_goal(IMAGE, "")


def test_the_arm_holds_however_the_run_ends(loop, robot, camera, monkeypatch) -> None:
    holds = []
    monkeypatch.setattr(robot, "hold", lambda: holds.append(True))
    loop.run(2)
    assert len(holds) == 1

    def fail() -> None:
        raise RuntimeError("unplugged")

    monkeypatch.setattr(camera, "read", fail)
    with pytest.raises(RuntimeError, match="unplugged"):
        loop.run(2)
    assert len(holds) == 2


def test_a_callback_may_end_the_run(loop) -> None:
    assert loop.run(10, lambda result: result.step == 3) == 4


def test_rotation_turns_about_the_measured_position(side, spec, robot, mock, policy) -> None:
    """R' = R(a) R and p' = R(a) (p - p_measured) + p_measured + d: with lag, a turn moves the target too
    (BridgeData V2).
    """
    target, measured = robot.observe().target_pose, robot.observe().pose.copy()
    measured[:3, 3] -= [0.02, 0.01, 0.0]  # the arm lags behind
    policy.action = np.array([0.01, 0, 0, 0, 0, 0.2, 1], dtype=np.float32)
    command = side.compute(Frame(policy.clock.now(), IMAGE, "sim"), measured, target).asked
    c, s = np.cos(0.2), np.sin(0.2)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    np.testing.assert_allclose(command.pose[:3, :3], turn @ target[:3, :3], atol=1e-6)
    expected = turn @ (target[:3, 3] - measured[:3, 3]) + measured[:3, 3] + [0.01, 0, 0]
    np.testing.assert_allclose(command.pose[:3, 3], expected, atol=1e-6)
    assert np.linalg.norm(expected - target[:3, 3] - [0.01, 0, 0]) > 0.003


def test_commands_count_up_within_a_session_of_their_own(side, policy, spec, clock, robot) -> None:
    state = robot.observe()
    frame = Frame(clock.now(), IMAGE, "sim")
    sequences = [side.compute(frame, state.pose, state.target_pose).asked.sequence for _ in range(3)]
    assert sequences == [1, 2, 3]
    other = PolicySide(policy, spec, clock, gripper=StickyGripper(0.5, 1))
    assert other.session != side.session


def test_gripper_follows_bridges_sticky_rule() -> None:
    once = StickyGripper(0.5, 1)
    assert [once(g) for g in (0.9, 0.5, 0.49, 0.1, 0.6)] == [1.0, 1.0, 0.0, 0.0, 1.0]
    thrice = StickyGripper(0.5, 3)
    assert [thrice(g) for g in (0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9)] == [1, 1, 1, 1, 1, 0, 0, 0, 1]
    thrice(0.1)
    thrice.reset()
    assert thrice(0.9) == 1.0


def test_a_new_goal_begins_with_the_gripper_rule_open(side, policy, robot, clock) -> None:
    state, frame = robot.observe(), Frame(clock.now(), IMAGE, "sim")
    policy.action = np.array([0, 0, 0, 0, 0, 0, 0.2], dtype=np.float32)
    assert side.compute(frame, state.pose, state.target_pose).asked.gripper == 0.0
    side.set_goal(IMAGE + 1, "sim")
    policy.action = np.array([0, 0, 0, 0, 0, 0, 0.8], dtype=np.float32)
    assert side.compute(frame, state.pose, state.target_pose).asked.gripper == 1.0


def test_a_bundle_drives_the_mock(robot, camera, clock, spec, make_bundle: Callable[..., Path]) -> None:
    policy = OnnxPolicy(PolicyBundle.open(make_bundle(action=(0.01, 0, 0, 0, 0, 0, 1)), spec))
    side = PolicySide(policy, spec, clock, gripper=policy.gripper_rule())
    side.set_goal(IMAGE, "sim")
    start = robot.observe().target_pose[0, 3]
    results = collect(ControlLoop(robot, camera, side, clock, spec.control.control_hz), 5)
    assert robot.observe().target_pose[0, 3] - start == pytest.approx(0.05, abs=1e-5)
    assert results[-1].decision.output.steps_to_goal < 2.0  # one grey level per colour at most, rounded
