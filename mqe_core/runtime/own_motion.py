"""OwnMotion: what the arm's side does by itself, homing and parking, made of commands like any other's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import make_pose, rotation_angle, rotation_vector
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command, RobotState
from mqe_core.runtime.safety.tolerances import ARRIVED_M, ARRIVED_RAD, SAME_POSE, SHORTER

# It rises to this height first: above what stands on the table, and still within reach at the far end of the workspace.
CLEARANCE_M = 0.12
# From nearer to the base it also moves away from it: straight up there, the hand meets the arm's own shoulder.
_CLEAR_OF_BASE_M = 0.16
_MOST_COMMANDS = 150  # 30 s; from one end of the workspace to the other and to sleep it takes 6
_STANDSTILLS = 3  # in a row, after which a motion is stuck; a reversal takes one
_PACE = 0.3  # of the joints' velocity limits: well below their acceleration limit, too
_sessions = itertools.count(1)


class OwnMotion:
    """Commands that lead through `stations`, joints (6,) rad each.

    Where the tool is low it first rises straight up to a clearance height. Then all joints turn at once from one
    station to the next: near the arm's own base a straight line in space would fold the arm into itself.

    Args:
        name: for people, and a part of its session's name.
        gripper: opening on the way, 0 to 1; None: as it is.
    """

    def __init__(self, spec: RobotSpec, name: str, stations: Sequence[Floats], gripper: float | None = None) -> None:
        self.name = name
        self._gripper = gripper  # None: as it is
        self._spec = spec
        self._stations = [np.asarray(joints, dtype=np.float64) for joints in stations]
        self._risen = False
        self._standstills = 0
        self._sequence = 0
        self._session = f"{name}-{next(_sessions)}"

    def next_command(self, arm: RobotState, now: float) -> Command | None:
        """The command that leads on from `arm.target_pose`, or None where that is the last station."""
        here = arm.target_pose
        while self._stations and self._is_at(here, forward_kinematics(self._spec, self._stations[0])):
            self._stations.pop(0)
        if not self._stations:
            return None
        self._risen = self._risen or here[2, 3] >= CLEARANCE_M - ARRIVED_M
        self._sequence += 1
        return Command(
            pose=self._turn(arm) if self._risen else self._rise(arm),
            gripper=arm.target_gripper if self._gripper is None else self._gripper,
            stamp=now,
            session=self._session,
            sequence=self._sequence,
            frame_id=self._spec.base_frame,
        )

    def _rise(self, arm: RobotState) -> Floats:
        """One step up, already turning as the first station asks where that can be reached; the filter shortens the
        turn.
        """
        here = arm.target_pose
        position = np.array([max(here[0, 3], _CLEAR_OF_BASE_M), here[1, 3], CLEARANCE_M])
        step = position - here[:3, 3]
        length = float(np.linalg.norm(step))
        step *= min(1.0, self._spec.control.max_translation_step_m / length) if length > 0 else 1.0
        turned = make_pose(forward_kinematics(self._spec, self._stations[0])[:3, :3], here[:3, 3] + step)
        if inverse_kinematics(self._spec, turned, arm.joints) is not None:
            return turned
        return make_pose(here[:3, :3], here[:3, 3] + step)

    def _turn(self, arm: RobotState) -> Floats:
        """One step of all joints towards the station. It is shortened as a whole: each joint's limit by itself would
        lead off the way.
        """
        here, control = arm.target_pose, self._spec.control
        joints = inverse_kinematics(self._spec, here, arm.joints)
        joints = arm.joints if joints is None else joints
        way = self._stations[0] - joints
        longest = control.period_s * self._spec.joint_velocity
        fraction = _PACE / max(_PACE, float((np.abs(way) / longest).max()))
        # The hand's step is nearly, not quite, in proportion; what is still too long the filter shortens.
        for _ in range(3):
            pose = forward_kinematics(self._spec, joints + fraction * way)
            translation = float(np.abs(pose[:3, 3] - here[:3, 3]).max()) / control.max_translation_step_m
            rotation = (
                float(np.abs(rotation_vector(pose[:3, :3] @ here[:3, :3].T)).max()) / control.max_rotation_step_rad
            )
            excess = max(translation, rotation)
            if excess <= 1.0:
                break
            fraction *= SHORTER / excess
        return pose

    def is_stuck(self, sent: Floats, before: Floats) -> bool:
        """Whether the target that was `sent` after `before` ends this: it stands still, or the motion never ends."""
        self._standstills = self._standstills + 1 if np.abs(sent - before).max() < SAME_POSE else 0
        return self._standstills >= _STANDSTILLS or self._sequence >= _MOST_COMMANDS

    @staticmethod
    def _is_at(here: Floats, goal: Floats) -> bool:
        off_m, off_rad = np.abs(here[:3, 3] - goal[:3, 3]).max(), rotation_angle(here[:3, :3], goal[:3, :3])
        return bool(off_m < ARRIVED_M and off_rad < ARRIVED_RAD)
