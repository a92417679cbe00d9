"""Promise: what is drawn is the robot file's arm, at the joints that were told."""

from __future__ import annotations

import numpy as np

from mqe_core.console.arm_shapes import arm_boxes, arm_frames, dots
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec

SPEC = load_robot_spec()


def test_every_box_of_the_robot_file_is_there_whatever_the_opening() -> None:
    links = vars(SPEC.links).values()
    assert len(arm_boxes(SPEC, None)) == sum(len(link.shapes) for link in links)
    closed, opened = arm_boxes(SPEC, 0.0), arm_boxes(SPEC, 1.0)
    moved = [a.joint for a, b in zip(closed, opened) if not np.array_equal(a.position_m, b.position_m)]
    assert moved and set(moved) == {6}


def test_the_hand_is_where_the_kinematics_say() -> None:
    tip = arm_frames(SPEC, SPEC.neutral_rad)[6] @ [SPEC.tool.ee_offset_m, 0, 0, 1]
    np.testing.assert_allclose(tip[:3], forward_kinematics(SPEC, SPEC.neutral_rad)[:3, 3], atol=1e-9)


def test_a_line_becomes_dots_along_it() -> None:
    line = dots(np.array([[0.0, 0, 0], [0.06, 0, 0], [0.06, 0.06, 0]]))
    gaps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert 0.005 < gaps.min() and gaps.max() < 0.0075
    np.testing.assert_array_equal(line[-1], [0.06, 0.06, 0])
