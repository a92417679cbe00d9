"""The operator's half of the loop: a motion wanted and the arm's poses in, an absolute target out.

As a policy's half does, it owns no target: each step is composed on the target that the arm's side sent last, so taking
over begins where the arm is commanded to be.
"""

from __future__ import annotations

import secrets

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import apply_action
from mqe_core.robot.ranks import OPERATOR
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Clock, Command
from mqe_core.runtime.teleop.devices import Devices

_OPEN, _CLOSED, _BETWEEN = 1.0, 0.0, 0.5


class Speeds:
    """The speed that is chosen: a share of the fastest."""

    def __init__(self, devices: Devices) -> None:
        self._shares = sorted(float(share) for share in devices.speeds)
        self._chosen = len(self._shares) // 2

    @property
    def share(self) -> float:
        return self._shares[self._chosen]

    def change(self, steps: int) -> None:
        """Faster by so many steps, or slower; at an end it stays."""
        self._chosen = min(max(self._chosen + steps, 0), len(self._shares) - 1)


class OperatorSide:
    """Turns motions into commands of one session.

    Args:
        session: name of this sender; another one at each start.
    """

    def __init__(self, spec: RobotSpec, clock: Clock, session: str | None = None) -> None:
        self.session = session if session is not None else f"{OPERATOR}-{secrets.token_hex(4)}"
        self.sequence = 0  # of the newest command
        self._spec, self._clock = spec, clock
        self._gripper: float | None = None  # None: as the arm has it

    def begin(self) -> None:
        """The operator takes the arm: the gripper stays as it is commanded until it is toggled."""
        self._gripper = None

    def toggle_gripper(self, commanded: float) -> None:
        """Close an open gripper, open a closed one. `commanded`: the opening that was sent last, 1 open."""
        now = commanded if self._gripper is None else self._gripper
        self._gripper = _CLOSED if now > _BETWEEN else _OPEN

    def command(
        self, motion: Floats, target_pose: Floats, measured_pose: Floats, commanded_gripper: float
    ) -> tuple[Command, Floats]:
        """The next command, and the action (7,) behind it in Bridge's units.

        Args:
            motion: (6,) of one control period: m along base axes, and rad about them at the measured hand.
            target_pose: (4, 4) that the arm's side sent last.
            measured_pose: (4, 4), the pivot of the rotation.
            commanded_gripper: the opening that was sent last, 1 open.
        """
        gripper = commanded_gripper if self._gripper is None else self._gripper
        self.sequence += 1
        command = Command(
            pose=apply_action(target_pose, motion, measured_pose),
            gripper=gripper,
            stamp=self._clock.now(),
            session=self.session,
            sequence=self.sequence,
            frame_id=self._spec.base_frame,
        )
        return command, np.array([*motion, gripper])


def per_period(deflection: Floats, devices: Devices, share: float, period_s: float) -> Floats:
    """(6,) deflections from −1 to 1 → (6,) m and rad of one control period, at that share of the highest speed."""
    fastest = np.repeat([devices.fastest_m_per_s, devices.fastest_rad_per_s], 3)
    return np.asarray(deflection * fastest * share * period_s, dtype=np.float64)
