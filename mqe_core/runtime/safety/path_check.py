"""The way from one sent target to the next. The motors turn their joints; they know no straight line in space."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.kinematics import joint_frames
from mqe_core.robot.safety_rules import SELF_COLLISION, TABLE, WORKSPACE
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.self_collision import SelfDistance
from mqe_core.runtime.safety.table_clearance import HandClearance, LinkClearance
from mqe_core.runtime.safety.tolerances import RAISED_HAND_M, ROUNDING

_PARTS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])  # of the way: the points at which it is looked at
_NEAR_SLEEP_RAD = 0.3  # outside of it the way to sleep needs no exception
_SLEEP_MARGIN_M = 0.002  # on the way there the capsules meet a little more than at its end


class PathCheck:
    """Judges the straight line in joint space from one target to the next, at five points on the way.

    What was found beyond a limit may stay there, but go no farther: the start of the way says how far that was.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._to_tool = np.array([spec.tool.ee_offset_m, 0.0, 0.0])
        self._hand = HandClearance(spec)
        self._links = LinkClearance(spec)
        self._self_distance = SelfDistance(spec)
        self._asleep_m = self._self_distance(joint_frames(spec, spec.sleep_rad))

    def breach(self, start: Floats, end: Floats, floor_m: float) -> str | None:
        """The rule that the way from joints `start` to `end`, (6,) each, would break; None where it is clear.

        `floor_m` is how low the hand may be, metres of clearance above the table.
        """
        path = start + np.append(_PARTS, 0.0)[:, None] * (end - start)  # the last one is the start itself
        frames = joint_frames(self._spec, path)  # (n + 1, 7, 4, 4)
        tools = frames[:, -1].copy()
        tools[:, :3, 3] += tools[:, :3, :3] @ self._to_tool
        if self._leaves_the_box(tools[:, :3, 3]):
            return WORKSPACE
        if self._meets_the_table(tools, frames, floor_m):
            return TABLE
        return SELF_COLLISION if self._meets_itself(frames, path) else None

    def _leaves_the_box(self, positions: Floats) -> bool:
        """Half of the clearance is for what lies between the points on the way, as with the hand and the table."""
        box, start = self._spec.workspace, positions[-1]
        half = 0.5 * box.path_clearance_m
        low, high = np.minimum(box.inner_low - half, start), np.maximum(box.inner_high + half, start)
        return bool((np.maximum(low - positions, positions - high) > ROUNDING).any())

    def _meets_the_table(self, tools: Floats, frames: Floats, floor_m: float) -> bool:
        lowest = min(floor_m, -0.5 * self._spec.workspace.table_clearance_m)
        if (self._hand(tools[:-1]) < lowest - RAISED_HAND_M).any():
            return True
        links = self._links(frames)  # (n + 1, corners)
        return bool((links[:-1] < np.minimum(0.0, links[-1]) - ROUNDING).any())

    def _meets_itself(self, frames: Floats, path: Floats) -> bool:
        """Folded up to sleep the arm rests on itself: there each two parts may come as near as they do in that very
        pose, and a margin.
        """
        distances = self._self_distance(frames)  # (n + 1, pairs)
        allowed = np.minimum(0.0, distances[-1])
        # The waist turns the folded arm as a whole.
        asleep = (np.abs(path - self._spec.sleep_rad)[:, 1:] < _NEAR_SLEEP_RAD).all(axis=1, keepdims=True)
        limits = np.where(asleep, np.minimum(allowed, self._asleep_m - _SLEEP_MARGIN_M), allowed)
        return bool((distances[:-1] < limits[:-1] - ROUNDING).any())
