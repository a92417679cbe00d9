"""SafetyFilter: what may reach a motor. `safe_robot.py` puts a robot behind it.

Each rule has one name and one answer. It *clips* (the command is changed, sent, and says so) or it *refuses* (nothing
is sent, the arm keeps its last sent target). All limits come from the robot spec. They are judged on the arm's side,
against its own clock and against what was really sent before; nothing that the sender claims is taken on trust.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.safety_rules import GRIPPER, GRIPPER_EFFORT, JOINT_STATE, MOTORS, STALE_STATE, WIND_UP
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command, RobotState, unreadable_joints
from mqe_core.runtime.safety.command_check import CommandCheck
from mqe_core.runtime.safety.step_solver import Step, StepSolver, millimetres
from mqe_core.runtime.safety.target_limits import TargetLimits
from mqe_core.runtime.safety.tolerances import ROUNDING
from mqe_core.runtime.safety.verdict import LastTarget, Refusal, Verdict


class SafetyFilter:
    """Judges one command at a time. `judge` changes nothing here; `record` takes note of what came of it."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._commands = CommandCheck(spec)
        self._limits = TargetLimits(spec)
        self._steps = StepSolver(spec, self._limits)
        self._last: LastTarget | None = None  # None: nothing was sent yet

    def judge(self, asked: Command, state: RobotState, now: float) -> Verdict:
        """What may be sent of the command, or why nothing may. The allowed pose is what the allowed joints reach.

        Args:
            asked: pose (4, 4) and gripper; `stamp` is when the arm's side received it.
            state: newest state of the arm.
            now: monotonic seconds of the same clock as `asked.stamp` and `state.stamp`.
        """
        last_sent = self._last.time if self._last is not None else None
        refusal = self._commands.refusal(asked, now, last_sent) or self.fault(state, now)
        if refusal is not None:
            return Verdict(asked, None, refusal, None, now)
        start = self._last if self._last is not None else self._found(state)
        measured = forward_kinematics(self._spec, state.joints)
        ahead = self._limits.ahead(start.pose, measured)
        asked_pose = np.asarray(asked.pose, dtype=np.float64)
        pose, clipped = self._limits.clip(asked_pose, start.pose, measured, ahead, start.floor_m)
        step = self._steps.solve(pose, start, now)
        if isinstance(step, Refusal):
            return Verdict(asked, None, step, start, now)
        if step.shortened_by is not None and step.shortened_by not in clipped:
            clipped.append(step.shortened_by)
        gripper, gripper_clipped = self._gripper(asked, state)
        clipped += gripper_clipped
        if not self._limits.is_near(step.pose, measured, ahead):
            # Another rule moved it away from an arm that does not follow: one found outside the box is led back in.
            step = Step(start.joints, start.pose)
            clipped += [WIND_UP] * (WIND_UP not in clipped)
        detail = f"asked for {millimetres(asked.pose)}, sent {millimetres(step.pose)}" if clipped else ""
        allowed = replace(
            asked,
            pose=step.pose,
            gripper=gripper,
            joints=step.joints,
            clipped=tuple(clipped),
            refused=None,
            detail=detail,
        )
        return Verdict(asked, allowed, None, start, now)

    def record(self, verdict: Verdict, answer: Command) -> None:
        """Take note of what became of a verdict: where the next step starts, if it was sent, and that its session is
        alive.
        """
        self._commands.record(answer, verdict.time)
        if answer.refused is not None:
            return
        assert answer.joints is not None and verdict.start is not None
        start = verdict.start
        velocity = (answer.joints - start.joints) / start.seconds_for_a_step(verdict.time, self._spec.control.period_s)
        floor_m = min(0.0, max(start.floor_m, float(self._limits.clearance(answer.pose))))
        # Copies: the caller keeps the answer.
        self._last = LastTarget(answer.joints.copy(), answer.pose.copy(), velocity, verdict.time, floor_m)

    def release_session(self) -> None:
        """Let any session command next; the last one may go on only with a higher sequence."""
        self._commands.release_session()

    def forget_session(self) -> None:
        """Let any session command next with any sequence."""
        self._commands.forget_session()

    def fault(self, state: RobotState, now: float) -> Refusal | None:
        """Why the motors may not be driven, or the joints not be trusted; None where they may."""
        if not state.health.ok:
            return Refusal(MOTORS, state.health.reason)
        unreadable = unreadable_joints(state.joints)
        if unreadable:
            return Refusal(JOINT_STATE, unreadable)
        age, most = now - state.stamp, self._spec.control.max_joint_state_age_s
        if not age <= most:
            return Refusal(STALE_STATE, f"joints are {age:.3f} s old, allowed {most} s")
        return None

    def rebase(self, state: RobotState) -> tuple[Command, LastTarget]:
        """The command that makes the measured joints the target, and the target that they then are. Changes nothing
        here: `record_rebase` does, once the command was sent.
        """
        found = self._found(state)
        command = Command(
            pose=found.pose,
            gripper=min(max(state.target_gripper, 0.0), 1.0),
            stamp=state.stamp,
            session="",
            sequence=0,
            frame_id=self._spec.base_frame,
            joints=found.joints,
        )
        return command, found

    def record_rebase(self, found: LastTarget) -> None:
        """Let the next step start from the measured joints."""
        self._last = found

    def _found(self, state: RobotState) -> LastTarget:
        joints = np.array(state.joints, dtype=np.float64)
        pose = forward_kinematics(self._spec, joints)
        return LastTarget(joints, pose, np.zeros(6), None, min(0.0, float(self._limits.clearance(pose))))

    def _gripper(self, asked: Command, state: RobotState) -> tuple[float, list[str]]:
        """The opening that is allowed, and the rules that changed it."""
        gripper, clipped = min(max(float(asked.gripper), 0.0), 1.0), []
        if abs(gripper - asked.gripper) > ROUNDING:
            clipped.append(GRIPPER)
        effort, target = state.gripper_effort_n, state.target_gripper
        # An open gripper squeezes nothing: where its motor pushes, something pushes its fingers apart.
        if effort is not None and effort > self._spec.gripper.max_closing_effort_n and gripper < target < 1.0:
            gripper = target
            clipped.append(GRIPPER_EFFORT)
        return gripper, clipped
