"""How far each joint may go in one step: by its velocity, and by how much a step may differ from the one before."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.safety_rules import JOINT_ACCELERATION, JOINT_VELOCITY
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.tolerances import ROUNDING


class JointSteps:
    """Limits of a step (6,) rad, from the last sent joints to the next. Standing still is always within them, and so is
    each part of a step that is.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._velocity = spec.joint_velocity
        self._period_s = spec.control.period_s
        self._change_rad = spec.control.max_joint_step_change_rad

    def excess(self, step: Floats, before: Floats, elapsed: float) -> tuple[float, str]:
        """How many times too long the step is, and by which rule. At most 1: it is within the limits; inf: only
        standing still is.

        `before` is the mean velocity (6,) rad/s of the step before; the new one has `elapsed` seconds.
        """
        size = np.maximum(np.abs(step) - ROUNDING, 0.0)
        too_fast = float((size / (self._velocity * elapsed)).max())
        # From the velocity before it, faster or slower by the limit, or any step down to a stop.
        allowed = np.maximum(
            np.where(step > 0, before, -before) * elapsed + self._change_rad * elapsed / self._period_s, 0.0
        )
        ratio = np.divide(size, allowed, out=np.where(size > 0, np.inf, 0.0), where=allowed > ROUNDING)
        too_sudden = float(ratio.max())
        return (too_fast, JOINT_VELOCITY) if too_fast >= too_sudden else (too_sudden, JOINT_ACCELERATION)
