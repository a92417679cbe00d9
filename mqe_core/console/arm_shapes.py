"""The arm as boxes, from the robot file: what the simulator's URDF and the safety filter are made of, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.kinematics import joint_frames
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.table_clearance import hand_boxes

_HALF_OPEN = 0.5  # where the opening is not known


@dataclass(frozen=True, eq=False)
class ArmBox:
    """`size_m` (3,), its centre at `position_m` (3,) in the frame of the joint `joint` (0: the base), `colour`
    #rrggbb.
    """

    joint: int
    size_m: Floats
    position_m: Floats
    colour: str


def arm_boxes(spec: RobotSpec, gripper: float | None) -> list[ArmBox]:
    """Every box of the arm, with the fingers at that opening (1 open); always as many, in the same order."""
    links = spec.links
    arm = (links.base, links.shoulder, links.upper_arm, links.upper_forearm, links.lower_forearm, links.wrist)
    boxes = [
        ArmBox(joint, shape.size_m, shape.position_m, _hex(shape.rgba))
        for joint, link in enumerate(arm)
        for shape in link.shapes
    ]
    opening = _HALF_OPEN if gripper is None else gripper
    for shape, offset in hand_boxes(spec, spec.gripper.finger_position_m(opening)):
        boxes.append(ArmBox(len(arm), shape.size_m, shape.position_m + offset, _hex(shape.rgba)))
    return boxes


def arm_frames(spec: RobotSpec, joints: Floats) -> Floats:
    """(7, 4, 4) of the joints (6,) in the base's frame, by the number that a box names."""
    return joint_frames(spec, joints)


def dots(points: Floats, gap_m: float = 0.006) -> Floats:
    """(N, 3) corners of a line → (M, 3) points along it, about `gap_m` apart."""
    found = [points[:1]]
    for begin, end in zip(points[:-1], points[1:]):
        number = max(1, int(np.linalg.norm(end - begin) / gap_m))
        found.append(begin + (end - begin) * np.linspace(0.0, 1.0, number + 1)[1:, None])
    return np.concatenate(found)


def _hex(rgba: Floats) -> str:
    levels = (255 * np.clip(rgba[:3], 0.0, 1.0)).round().astype(int).tolist()
    return "#{:02x}{:02x}{:02x}".format(*levels)
