"""The contract of every robot behind the safety filter, as tests over a fixture `rig`; each home of backends gives them
its own.

No backend is exempt from a clause. One keeps the clause of the target in part only. bridge_data_robot's server composes
steps on a target that it does not tell, so what the state reports there is this side's account of it. How far the two
drift apart is in bridge/test_bridge_robot.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mqe_core.robot.geometry import euler_to_rotation, make_pose
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, Robot, RobotState
from mqe_core.runtime.safety.safe_robot import SafeRobot

LAG_M = 0.015  # how near the arm must be to its target a second after the last command
ARRIVAL_S, GRIPPER_S = 1.0, 1.5


class Rig:
    """A robot with its clock, and commands by number."""

    def __init__(self, robot: SafeRobot, clock: Clock, spec: RobotSpec) -> None:
        self.robot, self.clock, self.spec, self._sequence = robot, clock, spec, 0

    def wait(self, seconds: float) -> None:
        self.clock.sleep_until(self.clock.now() + seconds)

    def until(self, done: Callable[[RobotState], bool], within: float) -> RobotState:
        """The first state with which it is done, or the last one before the time was over."""
        end = self.clock.now() + within
        while not done(state := self.robot.observe()) and self.clock.now() < end:
            self.wait(0.05)
        return state

    def arrive(self, sent: Command, within: float = ARRIVAL_S) -> RobotState:
        """The state on arrival at what was sent; an AssertionError where the arm is not there in time."""
        state = self.until(lambda state: _distance(state.pose, sent.pose) < LAG_M, within)
        assert _distance(state.pose, sent.pose) < LAG_M
        return state

    def send(self, move=(0.0, 0.0, 0.0), gripper: float = 1.0, turn=(0.0, 0.0, 0.0), **fields) -> Command:
        """Send a step relative to the target, one control period after the last; `turn`: roll, pitch and yaw about the
        base's axes.
        """
        self.wait(self.spec.control.period_s)
        self._sequence += 1
        target = self.robot.observe().target_pose
        pose = make_pose(euler_to_rotation(np.asarray(turn)) @ target[:3, :3], target[:3, 3] + np.asarray(move))
        defaults = {
            "stamp": self.clock.now(),
            "session": "contract",
            "sequence": self._sequence,
            "frame_id": self.spec.base_frame,
        }
        return self.robot.send(Command(**{"pose": pose, "gripper": gripper, **defaults, **fields}))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


class RobotContract:
    """Inherited by a class `Test…` of a module that has a fixture `rig`."""

    def test_the_backend_speaks_the_protocol(self, rig: Rig) -> None:
        assert isinstance(rig.robot, Robot)

    def test_before_any_command_the_target_is_where_the_arm_is(self, rig: Rig) -> None:
        state = rig.robot.observe()
        assert _distance(state.pose, state.target_pose) < LAG_M

    def test_state_has_the_promised_shapes_and_is_finite(self, rig: Rig) -> None:
        rig.wait(0.2)
        state = rig.robot.observe()
        assert state.joints.shape == (6,) and state.pose.shape == state.target_pose.shape == (4, 4)
        assert (
            np.isfinite(state.joints).all() and np.isfinite(state.pose).all() and np.isfinite(state.target_pose).all()
        )
        np.testing.assert_allclose(state.pose, forward_kinematics(rig.spec, state.joints), atol=1e-9)
        assert -0.1 <= state.gripper <= 1.2 and 0.0 <= state.target_gripper <= 1.0
        assert state.health.ok and 0.0 <= rig.clock.now() - state.stamp < 0.1

    def test_a_backend_refuses_a_command_that_skipped_the_filter(self, rig: Rig) -> None:
        state = rig.robot.observe()
        with pytest.raises(ValueError, match="SafeRobot"):
            rig.robot._robot.send(Command(state.pose, 1.0, rig.clock.now(), "contract", 1, rig.spec.base_frame))

    def test_observations_and_answers_are_the_callers_own(self, rig: Rig) -> None:
        first = rig.robot.observe()
        kept, target = first.joints.copy(), first.target_pose.copy()
        degrees = None if first.health.temperatures_c is None else first.health.temperatures_c.copy()
        for array in (first.joints, first.pose, first.target_pose, first.health.temperatures_c):
            if array is not None:
                array[:] = 0.0
        second = rig.robot.observe()
        np.testing.assert_allclose(second.joints, kept, atol=1e-4)  # one of them moves in real time
        np.testing.assert_allclose(second.target_pose, target, atol=1e-3)
        np.testing.assert_array_equal(second.health.temperatures_c, degrees)
        sent = rig.send((0.02, 0.0, 0.0))
        target = sent.pose.copy()
        sent.pose[:], sent.joints[:] = 0.0, 0.0
        np.testing.assert_allclose(rig.robot.observe().target_pose, target, atol=1e-6)
        following = rig.send((0.02, 0.0, 0.0))
        assert following.refused is None and following.clipped == ()
        assert _distance(following.pose, target) == pytest.approx(0.02, abs=1e-6)

    def test_send_returns_what_the_state_then_reports_as_target(self, rig: Rig) -> None:
        sent = rig.send((0.02, 0.01, -0.01), gripper=0.5)
        state = rig.robot.observe()
        assert sent.refused is None and sent.joints is not None
        np.testing.assert_allclose(state.target_pose, sent.pose, atol=1e-6)
        np.testing.assert_allclose(forward_kinematics(rig.spec, sent.joints), sent.pose, atol=1e-6)
        assert state.target_gripper == sent.gripper == 0.5

    def test_so_it_does_while_the_arm_moves_and_turns_as_far_as_it_may(self, rig: Rig) -> None:
        for sign in (1, 1, -1):
            sent = rig.send((0.05, sign * 0.05, -0.02), turn=(sign * 0.2, 0.0, sign * 0.25))
            state = rig.robot.observe()
            assert sent.refused is None and sent.joints is not None
            np.testing.assert_allclose(state.target_pose, sent.pose, atol=1e-6)
            np.testing.assert_allclose(forward_kinematics(rig.spec, sent.joints), sent.pose, atol=1e-6)

    def test_the_arm_goes_where_it_is_sent(self, rig: Rig) -> None:
        start = rig.robot.observe().target_pose  # where the last one sends it, that may still be under way
        for _ in range(4):
            sent = rig.send((0.03, 0.0, 0.0))
        reached = rig.arrive(sent).pose
        assert reached[0, 3] - start[0, 3] > 0.09

    def test_the_gripper_opens_and_closes(self, rig: Rig) -> None:
        for wanted in (0.0, 1.0, 0.0):
            rig.send(gripper=wanted)
            state = rig.until(lambda state, wanted=wanted: abs(state.gripper - wanted) < 0.15, GRIPPER_S)
            assert state.gripper == pytest.approx(wanted, abs=0.15)

    def test_what_was_clipped_is_reported_and_obeyed(self, rig: Rig) -> None:
        before = rig.robot.observe().target_pose[:3, 3]
        sent = rig.send((0.12, 0.0, 0.0))
        assert sent.clipped == ("translation_step",)
        step = rig.robot.observe().target_pose[:3, 3] - before
        assert np.abs(step).max() <= rig.spec.control.max_translation_step_m + 1e-6

    def test_a_refused_command_moves_nothing(self, rig: Rig) -> None:
        sent = rig.send((0.02, 0.0, 0.0))
        elsewhere = sent.pose.copy()
        elsewhere[:3, 3] += (0.0, 0.0, 0.04)
        for fields, rule in (
            ({"pose": np.full((4, 4), np.nan)}, "not_finite"),
            ({"pose": elsewhere, "gripper": np.inf}, "not_finite"),
            ({"pose": elsewhere, "frame_id": "elsewhere"}, "wrong_frame"),
            ({"pose": elsewhere, "sequence": 1}, "out_of_order"),
        ):
            assert rig.send(**fields).refused == rule
        rig.arrive(sent)
        rig.wait(0.3)  # longer than a motion takes
        np.testing.assert_allclose(rig.arrive(sent, 0.0).target_pose, sent.pose, atol=1e-6)

    def test_hold_latches_the_last_target_once(self, rig: Rig) -> None:
        sent = rig.send((0.03, 0.0, -0.02))
        for _ in range(6):  # in the middle of the motion, and again and again
            rig.robot.hold()
            rig.wait(0.1)
        np.testing.assert_allclose(rig.arrive(sent, ARRIVAL_S - 0.6).target_pose, sent.pose, atol=1e-6)

    def test_commands_go_on_after_a_hold(self, rig: Rig) -> None:
        rig.send((0.02, 0.0, 0.0))
        rig.robot.hold()
        assert rig.send((0.02, 0.0, 0.0)).refused is None
