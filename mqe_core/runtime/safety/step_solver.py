"""StepSolver: the joints for a target, or for a shorter step towards it where not all of it is allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import part_way, rotation_angle
from mqe_core.robot.kinematics import inverse_kinematics, reach
from mqe_core.robot.safety_rules import (
    JOINT_ACCELERATION,
    JOINT_JUMP,
    JOINT_LIMITS,
    JOINT_VELOCITY,
    PATH,
    SELF_COLLISION,
    UNREACHABLE,
)
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.joint_steps import JointSteps
from mqe_core.runtime.safety.path_check import PathCheck
from mqe_core.runtime.safety.target_limits import TargetLimits
from mqe_core.runtime.safety.tolerances import SAME_POSE, SHORTER
from mqe_core.runtime.safety.verdict import LastTarget, Refusal

_SHORTENINGS = 9  # tries at a shorter step, each half as long as the last
_SHORTEST = 1e-3  # the part of the step below which it is none


@dataclass(frozen=True, eq=False)
class Step:
    """Where a step leads: joints (6,), the pose (4, 4) that they reach, and the rule that shortened it, if one did."""

    joints: Floats
    pose: Floats
    shortened_by: str | None = None


class StepSolver:
    """Finds joints near those of the last target, and looks at the way to them: its speed, and what it meets."""

    def __init__(self, spec: RobotSpec, limits: TargetLimits) -> None:
        self._spec = spec
        # Joint limits opened to a full turn, only to tell "beyond a limit" from "out of reach" when a pose is refused.
        self._unlimited = replace(
            spec, joints=tuple(replace(joint, lower_rad=-np.pi, upper_rad=np.pi) for joint in spec.joints)
        )
        self._limits = limits
        self._path = PathCheck(spec)
        self._joint_steps = JointSteps(spec)

    def solve(self, pose: Floats, start: LastTarget, now: float) -> Step | Refusal:
        """The step from `start` to the pose (4, 4), or a shorter one towards it; a refusal where there is none."""
        full = self._reach(pose, start)
        if full is None:
            if inverse_kinematics(self._unlimited, pose, start.joints) is not None:
                return Refusal(JOINT_LIMITS, f"{millimetres(pose)} needs a joint beyond its position limit")
            return Refusal(UNREACHABLE, f"no joints reach {millimetres(pose)}")
        elapsed = start.seconds_for_a_step(now, self._spec.control.period_s)
        # After that the motors have come to rest.
        moving = start.time is not None and now - start.time <= self._spec.control.profile_moving_time_s
        before = start.velocity if moving else np.zeros(6)
        excess, rule = self._joint_steps.excess(full.joints - start.joints, before, elapsed)
        breach: str | None = None
        if excess <= 1.0:
            breach = self._path.breach(start.joints, full.joints, start.floor_m)
            if breach is None:
                return full
            rule = breach
        hindrance = rule  # what the shortest step met
        # Shorten in Cartesian space, where the box and the step limits are convex, and solve again; a step through
        # joint space would leave them.
        fraction = SHORTER / max(1.0, excess)
        for _ in range(_SHORTENINGS):
            if breach == SELF_COLLISION or fraction < _SHORTEST:
                break
            target, _ = self._limits.raise_clear(part_way(start.pose, pose, fraction, fraction), start.floor_m)
            shorter = self._reach(target, start)
            if shorter is not None:
                shorter_excess, hindrance = self._joint_steps.excess(shorter.joints - start.joints, before, elapsed)
                if shorter_excess <= 1.0:
                    breach = self._path.breach(start.joints, shorter.joints, start.floor_m)
                    if breach is None:
                        return replace(shorter, shortened_by=rule)
                    hindrance = breach
            fraction *= 0.5
        if breach == SELF_COLLISION:
            return Refusal(SELF_COLLISION, f"on the way to {millimetres(pose)} the arm would touch itself")
        if rule == JOINT_ACCELERATION and before.any():
            return Step(start.joints, start.pose, rule)  # a stop, from which it may go on
        if hindrance not in (JOINT_VELOCITY, JOINT_ACCELERATION):
            return Refusal(PATH, f"the way to {millimetres(pose)} breaks the rule {hindrance}, however short the step")
        worst = int((np.abs(full.joints - start.joints) / self._spec.joint_velocity).argmax())
        return Refusal(
            JOINT_JUMP,
            f"joint {self._spec.joint_names[worst]} would move {excess:.1f} times what its limits allow, however "
            "short the step",
        )

    def _reach(self, pose: Floats, start: LastTarget) -> Step | None:
        """The step to joints that reach the pose; None where there are none. They reach it so exactly that they keep
        every limit that the pose keeps.
        """
        found = reach(self._spec, pose, start.joints)
        if found is None:
            return None
        joints, reached = found
        near = np.abs(reached[:3, 3] - pose[:3, 3]).max() < SAME_POSE
        return Step(joints, reached) if near and rotation_angle(reached[:3, :3], pose[:3, :3]) < SAME_POSE else None


def millimetres(pose: Floats) -> str:
    """The position of a pose (4, 4), for people."""
    x, y, z = 1000.0 * np.asarray(pose)[:3, 3]
    return f"({x:.0f}, {y:.0f}, {z:.0f}) mm"
