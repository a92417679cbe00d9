"""SafetyFilter: what may reach a motor. `safe_robot.py` puts a robot behind it.

Each rule has one name and one answer. It *clips* (the command is changed, sent, and says so) or it *refuses*
(nothing is sent, the arm holds its last sent target). All limits come from the robot spec and are judged on
the arm's side, against its own clock and against what was really sent before; nothing that the sender claims
is taken on trust.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mqe_core.geometry import part_way, rotation_angle
from mqe_core.kinematics import forward_kinematics, inverse_kinematics, reach
from mqe_core.runtime.joint_steps import JointSteps
from mqe_core.runtime.path_check import PathCheck
from mqe_core.runtime.robot import Command, RobotState, unreadable_joints
from mqe_core.runtime.safety_rules import (
    GRIPPER,
    GRIPPER_EFFORT,
    JOINT_ACCELERATION,
    JOINT_JUMP,
    JOINT_LIMITS,
    JOINT_STATE,
    JOINT_VELOCITY,
    MOTORS,
    NOT_A_POSE,
    NOT_FINITE,
    OUT_OF_ORDER,
    PATH,
    REFUSE_RULES,
    SELF_COLLISION,
    STALE,
    STALE_STATE,
    TOO_SOON,
    UNREACHABLE,
    WIND_UP,
    WRONG_FRAME,
    WRONG_SESSION,
)
from mqe_core.runtime.target_limits import TargetLimits
from mqe_core.spec import RobotSpec

# Refused by these, a command keeps no session alive.
_BEFORE_SESSION = REFUSE_RULES[: REFUSE_RULES.index(OUT_OF_ORDER) + 1]

_ROUNDING = 1e-9  # a limit exceeded by less is rounding, not clipping
_SHORTENINGS, _SHORTEST = 9, 1e-3  # tries at a shorter step, each half the last; the fraction below which it is none
_SENT_TOLERANCE = 1e-6  # m and rad: how far what the joints reach may be from what the rules allowed


@dataclass(frozen=True, eq=False)
class _Sent:
    """The last sent target: joints (6,), the pose (4, 4) they reach, the mean velocity (6,) rad/s of the step to
    it, when it was sent (None: found, not sent), and how low the hand may be: 0 m of clearance, or where it was
    found lower, no lower than it has been since.
    """

    joints: np.ndarray
    pose: np.ndarray
    velocity: np.ndarray
    time: float | None
    floor: float


class SafetyFilter:
    """Judges one command at a time. `filter` changes no verdict; `commit` records what became of the command filtered last."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        # Joint limits opened to a full turn, only to tell "beyond a limit" from "out of reach" when a pose is
        # refused.
        self._unlimited = replace(
            spec, joints=tuple(replace(joint, lower_rad=-np.pi, upper_rad=np.pi) for joint in spec.joints)
        )
        self._limits = TargetLimits(spec)
        self._path = PathCheck(spec)
        self._joint_steps = JointSteps(spec)
        self._sent: _Sent | None = None
        self._last: _Sent | None = None  # what the newest command was judged against
        self._session: str | None = None
        self._sequence = 0
        self._heard = -np.inf

    def filter(self, command: Command, state: RobotState, now: float) -> Command:
        """The command that may be sent, with `joints` filled in and `clipped` naming what was changed; or
        `refused` set.

        Args:
            command: pose (4, 4) and gripper; `stamp` is when the arm's side received it.
            state: newest state of the arm.
            now: monotonic seconds of the same clock as `command.stamp` and `state.stamp`.

        The pose returned is the one that the joints returned reach.
        """
        command = replace(command, joints=None, clipped=(), refused=None, detail="")
        refusal = self._judge_command(command, now) or self.fault(state, now)
        if refusal is not None:
            return replace(command, refused=refusal[0], detail=refusal[1])
        last = self._last = self._sent if self._sent is not None else self._found(state)
        measured = forward_kinematics(self._spec, state.joints)
        ahead = self._limits.ahead(last.pose, measured)
        pose, clipped = self._limits.clip(
            np.asarray(command.pose, dtype=np.float64), last.pose, measured, ahead, last.floor
        )
        reached, rule, detail = self._solve(pose, last, now)
        if reached is None:
            return replace(command, refused=rule, detail=detail)
        joints, sent_pose = reached
        if rule is not None and rule not in clipped:
            clipped.append(rule)
        gripper = min(max(float(command.gripper), 0.0), 1.0)
        if abs(gripper - command.gripper) > _ROUNDING:
            clipped.append(GRIPPER)
        effort = state.gripper_effort_n
        # An open gripper squeezes nothing: where its motor pushes, something pushes its fingers apart.
        if (
            effort is not None
            and effort > self._spec.gripper.max_closing_effort_n
            and gripper < state.target_gripper < 1.0
        ):
            gripper = state.target_gripper
            clipped.append(GRIPPER_EFFORT)
        if not self._limits.is_near(sent_pose, measured, ahead):
            # Another rule moved it away from an arm that does not follow: one found outside the box is led back in.
            joints, sent_pose = last.joints, last.pose
            clipped += [WIND_UP] * (WIND_UP not in clipped)
        detail = f"asked for {_millimetres(command.pose)}, sent {_millimetres(sent_pose)}" if clipped else ""
        return replace(command, pose=sent_pose, gripper=gripper, joints=joints, clipped=tuple(clipped), detail=detail)

    def commit(self, result: Command, now: float) -> None:
        """Record the outcome of `filter`: what was sent becomes the base of the next step, and the session
        stays alive.
        """
        if result.refused in _BEFORE_SESSION:
            return
        self._session, self._sequence, self._heard = result.session, result.sequence, now
        if result.refused is None:
            assert result.joints is not None and self._last is not None
            last = self._last
            velocity = (result.joints - last.joints) / self._elapsed(last, now)
            floor = min(0.0, max(last.floor, float(self._limits.clearance(result.pose))))
            self._sent = _Sent(
                result.joints.copy(), result.pose.copy(), velocity, now, floor
            )  # the caller keeps `result`

    def release_session(self) -> None:
        """Let any session command next; the last one may go on only with a higher sequence."""
        self._heard = -np.inf

    def fault(self, state: RobotState, now: float) -> tuple[str, str] | None:
        """(rule, detail) where the motors may not be driven or the joints not be trusted, else None."""
        if not state.health.ok:
            return MOTORS, state.health.reason
        unreadable = unreadable_joints(state.joints)
        if unreadable:
            return JOINT_STATE, unreadable
        age = now - state.stamp
        if not age <= self._spec.control.max_joint_state_age_s:
            return (
                STALE_STATE,
                f"joints are {age:.3f} s old, allowed {self._spec.control.max_joint_state_age_s} s",
            )
        return None

    def rebase(self, state: RobotState) -> Command:
        """Make the measured joints the base of the next step; returns the command that says so."""
        found = self._found(state)
        self._sent = found
        return Command(
            pose=found.pose,
            gripper=min(max(state.target_gripper, 0.0), 1.0),
            stamp=state.stamp,
            session="",
            sequence=0,
            frame_id=self._spec.base_frame,
            joints=found.joints,
        )

    def _found(self, state: RobotState) -> _Sent:
        joints = np.array(state.joints, dtype=np.float64)
        pose = forward_kinematics(self._spec, joints)
        return _Sent(joints, pose, np.zeros(6), None, min(0.0, float(self._limits.clearance(pose))))

    def _judge_command(self, command: Command, now: float) -> tuple[str, str] | None:
        control = self._spec.control
        pose = np.asarray(command.pose, dtype=np.float64)
        if pose.shape != (4, 4):
            return NOT_A_POSE, f"expected a (4, 4) pose, got shape {pose.shape}"
        if not (np.isfinite(pose).all() and np.isfinite(command.gripper) and np.isfinite(command.stamp)):
            return (
                NOT_FINITE,
                f"position {pose[:3, 3].tolist()}, gripper {command.gripper}, stamp {command.stamp}",
            )
        rotation = pose[:3, :3]
        # The bound on the entries first: squares of absurd numbers would overflow.
        orthogonality = (
            float(np.abs(rotation @ rotation.T - np.eye(3)).max()) if np.abs(rotation).max() < 2.0 else np.inf
        )
        if orthogonality > 1e-3 or np.linalg.det(rotation) < 0 or np.abs(pose[3] - [0, 0, 0, 1]).max() > 1e-6:
            return NOT_A_POSE, f"rotation off by {orthogonality:.3g}, last row {pose[3].tolist()}"
        if command.frame_id != self._spec.base_frame:
            return WRONG_FRAME, f"expected frame {self._spec.base_frame!r}, got {command.frame_id!r}"
        age = now - command.stamp
        if not -_ROUNDING <= age <= control.max_command_age_s:
            return STALE, f"age {age:.3f} s, allowed 0 to {control.max_command_age_s} s"
        if command.session == self._session:
            if command.sequence <= self._sequence:
                return OUT_OF_ORDER, f"sequence {command.sequence} after {self._sequence}"
        elif self._session is not None and now - self._heard <= control.max_command_age_s:
            return WRONG_SESSION, (
                f"session {command.session!r} while {self._session!r} commands the arm; "
                f"it is free after {control.max_command_age_s} s of silence"
            )
        sent_at = self._sent.time if self._sent is not None else None
        if sent_at is not None and now - sent_at < 0.5 * control.period_s:
            return (
                TOO_SOON,
                f"{now - sent_at:.3f} s after the last one, allowed from {0.5 * control.period_s:.3f} s",
            )
        return None

    def _elapsed(self, last: _Sent, now: float) -> float:
        """Seconds that a step from `last` has: no more than a control period, however long the arm has waited."""
        period = self._spec.control.period_s
        return period if last.time is None else min(period, now - last.time)

    def _solve(
        self, pose: np.ndarray, last: _Sent, now: float
    ) -> tuple[tuple[np.ndarray, np.ndarray] | None, str | None, str]:
        """(joints and what they reach, None, "") for the pose; the same with the clipping rule for a shorter step
        towards it; (None, refusing rule, detail) if there is none.
        """
        reached = self._reach(pose, last.joints)
        if reached is None:
            if inverse_kinematics(self._unlimited, pose, last.joints) is not None:
                return None, JOINT_LIMITS, f"{_millimetres(pose)} needs a joint beyond its position limit"
            return None, UNREACHABLE, f"no joints reach {_millimetres(pose)}"
        joints, elapsed = reached[0], self._elapsed(last, now)
        # After that the motors have come to rest.
        moving = last.time is not None and now - last.time <= self._spec.control.profile_moving_time_s
        before = last.velocity if moving else np.zeros(6)
        excess, rule = self._joint_steps.excess(joints - last.joints, before, elapsed)
        breach = None
        if excess <= 1.0:
            rule = breach = self._path.breach(last.joints, joints, last.floor)
            if breach is None:
                return reached, None, ""
        hindrance = rule  # what the shortest step met
        # Shorten in Cartesian space, where the box and the step limits are convex, and solve again; a step
        # through joint space would leave them. A little below the proportional fraction, as the joints move
        # fastest where the arm is near singular.
        fraction = 0.98 / max(1.0, excess)
        for _ in range(_SHORTENINGS):
            if breach == SELF_COLLISION or fraction < _SHORTEST:
                break
            target, _ = self._limits.raise_clear(part_way(last.pose, pose, fraction, fraction), last.floor)
            shorter = self._reach(target, last.joints)
            if shorter is not None:
                shorter_excess, hindrance = self._joint_steps.excess(shorter[0] - last.joints, before, elapsed)
                if shorter_excess <= 1.0:
                    hindrance = breach = self._path.breach(last.joints, shorter[0], last.floor)
                    if breach is None:
                        return shorter, rule, ""
            fraction *= 0.5
        if breach == SELF_COLLISION:
            return None, SELF_COLLISION, f"on the way to {_millimetres(pose)} the arm would touch itself"
        if rule == JOINT_ACCELERATION and before.any():
            return (last.joints, last.pose), rule, ""  # a stop, from which it may go on
        if hindrance not in (JOINT_VELOCITY, JOINT_ACCELERATION):
            return None, PATH, f"the way to {_millimetres(pose)} breaks the rule {hindrance}, however short the step"
        worst = int((np.abs(joints - last.joints) / self._spec.joint_velocity).argmax())
        return (
            None,
            JOINT_JUMP,
            f"joint {self._spec.joint_names[worst]} would move {excess:.1f} times what its limits allow, however short the step",
        )

    def _reach(self, pose: np.ndarray, seed: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Joints, and what they reach: the pose so exactly that every limit met by it is met by them. None where
        there are none.
        """
        found = reach(self._spec, pose, seed)
        if found is None:
            return None
        _, reached = found
        near = np.abs(reached[:3, 3] - pose[:3, 3]).max() < _SENT_TOLERANCE
        return found if near and rotation_angle(reached[:3, :3], pose[:3, :3]) < _SENT_TOLERANCE else None


def _millimetres(pose: np.ndarray) -> str:
    x, y, z = 1000.0 * np.asarray(pose)[:3, 3]
    return f"({x:.0f}, {y:.0f}, {z:.0f}) mm"
