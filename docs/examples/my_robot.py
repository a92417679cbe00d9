"""A robot of one's own: an arm whose joints run after their targets, as motors behind a simple driver do."""

from __future__ import annotations

import math

import numpy as np

from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command, MotorHealth, RobotState

LAG_S = 0.08  # a joint has done 63 % of its way after this time


class LaggingArm:
    """The four methods of `mqe_core.runtime.robot.Robot`. Replace the arithmetic by calls of your driver."""

    def __init__(self, spec: RobotSpec, *, clock: Clock) -> None:
        self._spec, self._clock = spec, clock
        self._position = np.array([*spec.neutral_rad, 1.0])  # (7,): six joints in rad, and the gripper
        self._target = self._position.copy()
        self._read_at = clock.now()

    def observe(self) -> RobotState:
        """The newest state. Raise RuntimeError where the arm cannot be read; never make joints up."""
        now = self._clock.now()
        left = math.exp(-(now - self._read_at) / LAG_S)
        self._position = self._target + left * (self._position - self._target)
        self._read_at = now
        return RobotState(
            stamp=now,  # when the joints were measured, on the clock that was given
            joints=self._position[:6].copy(),
            gripper=float(self._position[6]),
            pose=forward_kinematics(self._spec, self._position[:6]),
            target_pose=forward_kinematics(self._spec, self._target[:6]),
            target_gripper=float(self._target[6]),
            health=MotorHealth(ok=True),  # ok=False and a reason where a motor may not be driven
        )

    def send(self, command: Command) -> Command:
        """Set the targets and return at once. `command` has passed the safety filter, which filled in the joints."""
        if command.joints is None:
            raise ValueError("a command without joints reached the backend; send it through make_robot's SafeRobot")
        self.observe()
        self._target = np.array([*command.joints, command.gripper])
        return command

    def hold(self) -> None:
        """Stay at the last target. These joints do so by themselves."""

    def close(self) -> None:
        """Release the driver. Nothing is open here."""
