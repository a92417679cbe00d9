"""A dry run's robot: it is observed and never moved."""

from __future__ import annotations

from dataclasses import replace

from mqe_core.runtime.robot import Command, Robot, RobotState


class DryRunRobot:
    """A robot that is observed but never moved: commands pass every rule and go nowhere."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    def observe(self) -> RobotState:
        """Its target is where it is: nothing was sent, and by hand it may be moved."""
        state = self._robot.observe()
        return replace(state, target_pose=state.pose, target_gripper=min(max(state.gripper, 0.0), 1.0))

    def send(self, allowed: Command) -> Command:
        return allowed

    def hold(self) -> None:
        """Nothing was sent, so there is nothing to hold."""

    def close(self) -> None:
        self._robot.close()
