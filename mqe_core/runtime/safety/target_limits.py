"""Where the next target may be: not farther ahead of an arm that does not follow, in the box, above the table, and one
step away.
"""

from __future__ import annotations

import math

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import make_pose, part_way, rotation_angle, rotation_vector
from mqe_core.robot.parts import ControlSpec
from mqe_core.robot.safety_rules import ROTATION_STEP, TABLE, TRANSLATION_STEP, WIND_UP, WORKSPACE
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.table_clearance import HandClearance
from mqe_core.runtime.safety.tolerances import ROUNDING, SAME_POSE

_ANYWHERE = (math.inf, math.inf)
_ROOM_TO_RISE = 0.95  # of a step that turns faster than it may rise


class TargetLimits:
    """Clips one pose. `floor_m` is how low the hand may be: 0 m of clearance, or as low as it was found."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self.clearance = HandClearance(spec)

    def clip(
        self, asked: Floats, start: Floats, measured: Floats, ahead: tuple[float, float], floor_m: float
    ) -> tuple[Floats, list[str]]:
        """What of the pose `asked` is allowed as the target after `start`, with the arm at `measured`, (4, 4) each; and
        the rules that changed it.

        The step comes last: where the last target is inside, so is every point on the way to the clipped one.
        """
        control, box = self._spec.control, self._spec.workspace
        clipped: list[str] = []
        left, _, right = np.linalg.svd(asked[:3, :3])
        pose = make_pose(left @ right, asked[:3, 3])
        if not self.is_near(pose, measured, ahead):
            # Towards the arm, not towards the last target: so the target may slide along what blocks the arm.
            fractions = (min(1.0, most / max(lags, ROUNDING)) for most, lags in zip(ahead, lag(pose, measured)))
            pose = part_way(measured, pose, *fractions)
            clipped.append(WIND_UP)
        position = np.clip(pose[:3, 3], box.inner_low, box.inner_high)
        if np.abs(position - pose[:3, 3]).max() > ROUNDING:
            clipped.append(WORKSPACE)
        # An arm that was found too low need not jump up, but may not go lower.
        inside, raised = self.raise_clear(make_pose(pose[:3, :3], position), floor_m)
        # Per axis, as bridge_data_robot clips an action; the direction of the step is kept.
        step = float(np.abs(inside[:3, 3] - start[:3, 3]).max()) / control.max_translation_step_m
        turn = float(np.abs(rotation_vector(inside[:3, :3] @ start[:3, :3].T)).max()) / control.max_rotation_step_rad
        shorter, smaller = 1.0 / max(1.0, step), 1.0 / max(1.0, turn)
        shortened, raised_again = self.raise_clear(part_way(start, inside, shorter, smaller), floor_m)
        if raised_again and shortened[2, 3] - start[2, 3] > control.max_translation_step_m:
            # It turns faster than it may rise. At one common pace the way there is as high as its two ends, but
            # for what a turn dips between them; that much less of the step leaves room to rise.
            shorter = smaller = _ROOM_TO_RISE * min(shorter, smaller)
            shortened, _ = self.raise_clear(part_way(start, inside, shorter, smaller), floor_m)
        clipped += [TABLE] * (raised or raised_again)
        clipped += [TRANSLATION_STEP] * (step > 1.0 + ROUNDING)
        clipped += [ROTATION_STEP] * (turn > 1.0 + ROUNDING)
        return shortened, clipped

    def raise_clear(self, pose: Floats, floor_m: float) -> tuple[Floats, bool]:
        """The pose, straight up to where the hand clears the table by `floor_m`; whether that was needed."""
        missing = floor_m - float(self.clearance(pose))
        if missing <= ROUNDING:
            return pose, False
        higher = pose.copy()
        higher[2, 3] += missing
        return higher, True

    @staticmethod
    def is_near(pose: Floats, measured: Floats, ahead: tuple[float, float]) -> bool:
        """Whether a target at `pose` is no farther from the arm than `ahead`."""
        if ahead == _ANYWHERE:
            return True
        lag_m, lag_rad = lag(pose, measured)
        return lag_m <= ahead[0] + SAME_POSE and lag_rad <= ahead[1] + SAME_POSE

    def ahead(self, start: Floats, measured: Floats) -> tuple[float, float]:
        """How far from the arm, m and rad, the target after `start` may be: anywhere, or where the arm does not follow,
        no farther than `start` is.
        """
        control = self._spec.control
        lag_m, lag_rad = lag(start, measured)
        return (
            lag_m if lag_m > control.tracking_tolerance_m else math.inf,
            lag_rad if lag_rad > control.tracking_tolerance_rad else math.inf,
        )


def lag(target: Floats, measured: Floats) -> tuple[float, float]:
    """Distance (m) and angle (rad) between two poses (4, 4)."""
    return float(np.linalg.norm(target[:3, 3] - measured[:3, 3])), rotation_angle(target[:3, :3], measured[:3, :3])


def follows(target: Floats, measured: Floats, control: ControlSpec) -> bool:
    """Whether the arm at `measured` is within the tracking tolerances of its target, (4, 4) each."""
    lag_m, lag_rad = lag(target, measured)
    return lag_m <= control.tracking_tolerance_m and lag_rad <= control.tracking_tolerance_rad
