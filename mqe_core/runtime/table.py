"""How far the hand is above the table: the lowest corner of gripper, gripper bar and fingers."""

from __future__ import annotations

import numpy as np

from mqe_core.spec import RobotSpec


class HandClearance:
    """Distance of a hand at a pose from the table plane, the fingers at the widest and narrowest alike."""

    def __init__(self, spec: RobotSpec) -> None:
        self._table_m = spec.workspace.table_height_m + spec.workspace.table_clearance_m
        self._corners = _corners(spec)  # (n, 3) in the end effector's frame

    def __call__(self, poses: np.ndarray) -> np.ndarray:
        """Metres above table and clearance for end effectors at `poses` (..., 4, 4) → (...); negative: too low."""
        return (poses[..., 2, :3] @ self._corners.T).min(axis=-1) + poses[..., 2, 3] - self._table_m


def _corners(spec: RobotSpec) -> np.ndarray:
    tool, grip, links = spec.tool, spec.gripper, spec.links
    parts = [
        (links.gripper, 0.0, (0.0,)),
        (links.gripper_bar, tool.bar_offset_m, (0.0,)),
        (links.left_finger, tool.fingers_offset_m, (grip.travel_lower_m, grip.travel_upper_m)),
        (links.right_finger, tool.fingers_offset_m, (-grip.travel_lower_m, -grip.travel_upper_m)),
    ]
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).T.reshape(-1, 3)
    corners = [
        shape.position_m + (along_m - tool.ee_offset_m, slide_m, 0.0) + 0.5 * signs * shape.size_m
        for link, along_m, slides_m in parts
        for shape in link.shapes
        for slide_m in slides_m
    ]
    return np.concatenate(corners)
