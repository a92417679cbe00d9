"""Where the next target may be: not farther ahead of an arm that does not follow, in the box, above the table, and one step away."""

from __future__ import annotations

import math

import numpy as np

from mqe_core.geometry import make_pose, part_way, rotation_angle, rotation_vector
from mqe_core.runtime.safety_rules import ROTATION_STEP, TABLE, TRANSLATION_STEP, WIND_UP, WORKSPACE
from mqe_core.runtime.table import HandClearance
from mqe_core.spec import RobotSpec

_ROUNDING = 1e-9  # a limit exceeded by less is rounding, not clipping
_NEAR = 1e-6  # m and rad: what the joints reach differs from what was asked of them by less
_ANYWHERE = (math.inf, math.inf)


class TargetLimits:
    """Clips one pose. `floor` is how low the hand may be: 0 m of clearance, or where it was found lower, no lower than that."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self.clearance = HandClearance(spec)

    def clip(
        self, wanted: np.ndarray, last: np.ndarray, measured: np.ndarray, ahead: tuple[float, float], floor: float
    ) -> tuple[np.ndarray, list[str]]:
        """What of the pose `wanted` may be the target after `last`, with the arm at `measured`, (4, 4) each; the rules that changed it.

        The step comes last: where the last target is inside, so is every point on the way to the clipped one.
        """
        control, box, clipped = self._spec.control, self._spec.workspace, []
        left, _, right = np.linalg.svd(wanted[:3, :3])
        pose = make_pose(left @ right, wanted[:3, 3])
        if not self.is_near(pose, measured, ahead):
            # Towards the arm, not towards the last target: so the target may slide along what blocks the arm.
            pose = part_way(
                measured, pose, *(min(1.0, most / max(is_, _ROUNDING)) for most, is_ in zip(ahead, lag(pose, measured)))
            )
            clipped.append(WIND_UP)
        position = np.clip(pose[:3, 3], box.inner_low, box.inner_high)
        if np.abs(position - pose[:3, 3]).max() > _ROUNDING:
            clipped.append(WORKSPACE)
        # An arm that was found too low need not jump up, but may not go lower.
        inside, raised = self.raise_clear(make_pose(pose[:3, :3], position), floor)
        # Per axis, as bridge_data_robot clips an action; the direction of the step is kept.
        step = float(np.abs(inside[:3, 3] - last[:3, 3]).max()) / control.max_translation_step_m
        turn = float(np.abs(rotation_vector(inside[:3, :3] @ last[:3, :3].T)).max()) / control.max_rotation_step_rad
        shorter, smaller = 1.0 / max(1.0, step), 1.0 / max(1.0, turn)
        shortened, raised_again = self.raise_clear(part_way(last, inside, shorter, smaller), floor)
        if raised_again and shortened[2, 3] - last[2, 3] > control.max_translation_step_m:
            # It turns faster than it may rise. At one common pace the way there is as high as its two ends, but
            # for what a turn dips between them; that much less of the step leaves room to rise.
            shorter = smaller = 0.95 * min(shorter, smaller)
            shortened, _ = self.raise_clear(part_way(last, inside, shorter, smaller), floor)
        clipped += [TABLE] * (raised or raised_again)
        clipped += [TRANSLATION_STEP] * (step > 1.0 + _ROUNDING)
        clipped += [ROTATION_STEP] * (turn > 1.0 + _ROUNDING)
        return shortened, clipped

    def raise_clear(self, pose: np.ndarray, floor: float) -> tuple[np.ndarray, bool]:
        """The pose, straight up to where the hand clears the table by `floor`; whether that was needed."""
        missing = floor - float(self.clearance(pose))
        if missing <= _ROUNDING:
            return pose, False
        higher = pose.copy()
        higher[2, 3] += missing
        return higher, True

    @staticmethod
    def is_near(pose: np.ndarray, measured: np.ndarray, ahead: tuple[float, float]) -> bool:
        """Whether a target at `pose` is no farther from the arm than `ahead`."""
        if ahead == _ANYWHERE:
            return True
        lag_m, lag_rad = lag(pose, measured)
        return lag_m <= ahead[0] + _NEAR and lag_rad <= ahead[1] + _NEAR

    def ahead(self, last: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
        """How far from the arm, m and rad, the next target may be: anywhere, or where the arm does not follow, no farther than the last one."""
        control = self._spec.control
        lag_m, lag_rad = lag(last, measured)
        return (
            lag_m if lag_m > control.tracking_tolerance_m else math.inf,
            lag_rad if lag_rad > control.tracking_tolerance_rad else math.inf,
        )


def lag(target: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Distance (m) and angle (rad) between two poses (4, 4)."""
    return float(np.linalg.norm(target[:3, 3] - measured[:3, 3])), rotation_angle(target[:3, :3], measured[:3, :3])
