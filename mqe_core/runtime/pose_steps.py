"""The way from one pose to another, and fractions of it."""

from __future__ import annotations

import numpy as np

from mqe_core.geometry import make_pose


def between(start: np.ndarray, end: np.ndarray, translation: float, rotation: float) -> np.ndarray:
    """Pose (4, 4) the given fractions of the way from `start` to `end`: straight in position, about one fixed
    axis in rotation.
    """
    position = start[:3, 3] + translation * (end[:3, 3] - start[:3, 3])
    if rotation == 1.0:
        return make_pose(end[:3, :3], position)
    x, y, z = vector = rotation * rotation_vector(end[:3, :3] @ start[:3, :3].T)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return make_pose(start[:3, :3], position)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) / angle
    part = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return make_pose(part @ start[:3, :3], position)


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) → (3,) axis times angle, angle in [0, π], exact at half turns too."""
    x, y, z, w = _quaternion(rotation)
    sine = float(np.sqrt(x * x + y * y + z * z))
    return np.array([x, y, z]) * (2.0 * np.arctan2(sine, w) / sine) if sine > 1e-15 else np.zeros(3)


def _quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """(3, 3) → unit (x, y, z, w), w ≥ 0, from the largest component: half turns lose no digits."""
    r = rotation
    xx, yy, zz = r[0, 0], r[1, 1], r[2, 2]
    squares = np.array([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz])
    largest = int(squares.argmax())
    columns = np.array(
        [
            [squares[0], r[0, 1] + r[1, 0], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], squares[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[1, 2] + r[2, 1], squares[2], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]],
        ]
    )
    x, y, z, w = columns[largest] / np.linalg.norm(columns[largest])
    return (x, y, z, w) if w >= 0 else (-x, -y, -z, -w)
