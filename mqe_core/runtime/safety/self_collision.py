"""Distance of the arm from itself: every box of a link as a capsule around it, and the pairs that can meet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.parts import ShapeSpec
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.safety.table_clearance import hand_boxes

# What cannot meet, or always touches: links that share a joint, and the parts of one rigid body.
# A part's number is that of the joints it comes after.
_BASE, _SHOULDER, _UPPER_ARM, _UPPER_FOREARM, _LOWER_FOREARM, _WRIST, _HAND = range(7)
_MEET = {
    (a, b)
    for a, b in itertools.product((_BASE, _SHOULDER, _UPPER_ARM), (_UPPER_FOREARM, _LOWER_FOREARM, _WRIST, _HAND))
    if (a, b) != (_UPPER_ARM, _UPPER_FOREARM)
}


class SelfDistance:
    """Call it with the frames of a joint vector: the distances between the capsules of all parts that can meet, in
    metres.

    A capsule covers its box with its corners, so the distance is never larger than that of the boxes.
    """

    def __init__(self, spec: RobotSpec) -> None:
        parts, starts, ends, radii = [], [], [], []
        for part, shape, offset in _shapes(spec):
            axis = int(np.argmax(shape.size_m))
            half = np.zeros(3)
            half[axis] = 0.5 * shape.size_m[axis]
            centre = shape.position_m + offset
            parts.append(part)
            starts.append(centre - half)
            ends.append(centre + half)
            radii.append(0.5 * float(np.linalg.norm(np.delete(shape.size_m, axis))))
        self._parts = np.array(parts)
        points = np.append(np.array([starts, ends]), np.ones((2, len(parts), 1)), axis=-1)
        self._points = points.transpose(1, 2, 0)  # (n, 4, 2): start and end in the part's frame, homogeneous
        pairs = [(i, j) for i, j in itertools.product(range(len(parts)), repeat=2) if (parts[i], parts[j]) in _MEET]
        self._first, self._second = np.array(pairs).T
        self._radii = np.array(radii)[self._first] + np.array(radii)[self._second]

    def __call__(self, frames: Floats) -> Floats:
        """`joint_frames` (..., 7, 4, 4) → (..., pairs)."""
        points = frames[..., self._parts, :3, :] @ self._points  # (..., n, 3, 2)
        start, end = points[..., 0], points[..., 1]
        first, second = self._first, self._second
        gaps = _segment_distance(start[..., first, :], end[..., first, :], start[..., second, :], end[..., second, :])
        distances: Floats = gaps - self._radii
        return distances


def _shapes(spec: RobotSpec) -> Iterator[tuple[int, ShapeSpec, Floats]]:
    """(part, box, offset along the part's frame) of every box; the fingers where they are widest."""
    links = spec.links
    for part, link in enumerate(
        (links.base, links.shoulder, links.upper_arm, links.upper_forearm, links.lower_forearm, links.wrist)
    ):
        for shape in link.shapes:
            yield part, shape, np.zeros(3)
    for shape, offset in hand_boxes(spec, spec.gripper.travel_upper_m):
        yield _HAND, shape, offset


def _segment_distance(p1: Floats, q1: Floats, p2: Floats, q2: Floats) -> Floats:
    """Distance between segments p1 q1 and p2 q2, all (..., 3) and none of length zero.

    Closest points of the two lines, clamped to the first segment, then to the second, then to the first again.
    """
    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    # (..., 2, 3): of each with each, in one call
    products = np.stack([d1, d2], axis=-2) @ np.stack([d1, d2, r], axis=-1)
    (a, b, c), (_, e, f) = np.moveaxis(products, (-2, -1), (0, 1))
    denominator = a * e - b * b
    parallel = denominator < 1e-12 * a * e
    s = np.where(parallel, 0.0, np.clip((b * f - c * e) / np.where(parallel, 1.0, denominator), 0.0, 1.0))
    t = np.clip((b * s + f) / e, 0.0, 1.0)
    s = np.clip((b * t - c) / a, 0.0, 1.0)
    distances: Floats = np.linalg.norm(p1 + s[..., None] * d1 - p2 - t[..., None] * d2, axis=-1)
    return distances
