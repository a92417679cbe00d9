"""How far the arm is above the table: the corners of the boxes that stand for its links."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.parts import ShapeSpec
from mqe_core.robot.spec import RobotSpec

_SIGNS = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).T.reshape(-1, 3)  # of the corners of a box


class HandClearance:
    """How high the hand at a pose is above the table plane: its lowest corner, with the fingers open or closed."""

    def __init__(self, spec: RobotSpec) -> None:
        self._table_m = spec.workspace.table_height_m + spec.workspace.table_clearance_m
        self._corners = _corners(spec)  # (n, 3) in the end effector's frame

    def __call__(self, poses: Floats) -> Floats:
        """Metres above table and clearance for end effectors at `poses` (..., 4, 4) → (...); negative: too low."""
        lowest: Floats = (poses[..., 2, :3] @ self._corners.T).min(axis=-1)  # against the end effector
        return lowest + poses[..., 2, 3] - self._table_m


class LinkClearance:
    """How high each corner of upper arm, forearm and wrist is above the table plane. Base and shoulder do not rise or
    sink.
    """

    def __init__(self, spec: RobotSpec) -> None:
        links = spec.links
        self._table_m = spec.workspace.table_height_m + spec.workspace.table_clearance_m
        moving = {
            2: links.upper_arm,
            3: links.upper_forearm,
            4: links.lower_forearm,
            5: links.wrist,
        }  # by the joint they come after
        boxes = [
            (part, shape.position_m + 0.5 * _SIGNS * shape.size_m)
            for part, link in moving.items()
            for shape in link.shapes
        ]
        self._parts = np.repeat([part for part, _ in boxes], len(_SIGNS))
        self._corners = np.concatenate([corners for _, corners in boxes])  # (n, 3) in their part's frame

    def __call__(self, frames: Floats) -> Floats:
        """Metres above table and clearance, `joint_frames` (..., 7, 4, 4) → (..., n)."""
        rows = frames[..., self._parts, 2, :]  # (..., n, 4)
        heights: Floats = (rows[..., :3] * self._corners).sum(axis=-1) + rows[..., 3]
        return heights - self._table_m


def hand_boxes(spec: RobotSpec, slide_m: float) -> list[tuple[ShapeSpec, Floats]]:
    """Every box of the hand with the offset (3,) of its link's frame from gripper_link's, the fingers at `slide_m`."""
    links, tool = spec.links, spec.tool
    offsets = (
        (links.gripper, (0.0, 0.0, 0.0)),
        (links.gripper_bar, (tool.bar_offset_m, 0.0, 0.0)),
        (links.left_finger, (tool.fingers_offset_m, slide_m, 0.0)),
        (links.right_finger, (tool.fingers_offset_m, -slide_m, 0.0)),
    )
    return [(shape, np.array(offset)) for link, offset in offsets for shape in link.shapes]


def _corners(spec: RobotSpec) -> Floats:
    grip, to_tool = spec.gripper, np.array([spec.tool.ee_offset_m, 0.0, 0.0])
    boxes = [*hand_boxes(spec, grip.travel_lower_m), *hand_boxes(spec, grip.travel_upper_m)]
    return np.concatenate(
        [shape.position_m + offset - to_tool + 0.5 * _SIGNS * shape.size_m for shape, offset in boxes]
    )
