"""Poses and the one rotation convention: BridgeData's state vector and its delta actions.

A pose is a (4, 4) homogeneous matrix of `ee_gripper_link` in `base_link` (metres; column vectors). Bridge's Euler
angles are relative to a tool that points straight down. With D below, R = Rz(yaw) · Ry(pitch) · Rx(roll) · D. So a tool
that points down with no yaw has state angles (0, 0, 0).

Source: bridge_data_robot, `transformation_utils.py` and `widowx_controller.py`.
"""

from __future__ import annotations

import math

import numpy as np

from mqe_core.robot.arrays import Floats

TOOL_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # D = Ry(+90°)
TOOL_DOWN.flags.writeable = False


def euler_to_rotation(rpy: Floats) -> Floats:
    """(3,) roll, pitch, yaw in rad → (3, 3) = Rz(yaw) · Ry(pitch) · Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rotation_to_euler(rotation: Floats) -> Floats:
    """(3, 3) → (3,) roll, pitch, yaw in rad, pitch in [−π/2, π/2]; at |pitch| = π/2 only roll ∓ yaw is determined."""
    pitch = np.arctan2(-rotation[2, 0], np.hypot(rotation[0, 0], rotation[1, 0]))
    if np.hypot(rotation[0, 0], rotation[1, 0]) < 1e-9:  # gimbal lock: put the whole rotation into roll
        return np.array([np.arctan2(-rotation[1, 2], rotation[1, 1]), pitch, 0.0])
    return np.array([np.arctan2(rotation[2, 1], rotation[2, 2]), pitch, np.arctan2(rotation[1, 0], rotation[0, 0])])


def rotation_angle(a: Floats, b: Floats) -> float:
    """Angle in rad of the rotation that takes (3, 3) `a` to (3, 3) `b`."""
    # As Python floats: a call of NumPy costs twenty times as much as a sine.
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (a.T @ b).tolist()
    return math.atan2(0.5 * math.hypot(zy - yz, xz - zx, yx - xy), 0.5 * (xx + yy + zz - 1.0))


def rotation_to_quaternion(rotation: Floats) -> Floats:
    """(3, 3) → (4,) unit x, y, z, w with w ≥ 0.

    Computed from the largest component, so that half turns lose no digits.
    """
    return np.array(_quaternion(rotation))


def _quaternion(rotation: Floats) -> tuple[float, float, float, float]:
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    squares = (1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz)
    columns = (
        (squares[0], xy + yx, zx + xz, zy - yz),
        (xy + yx, squares[1], yz + zy, xz - zx),
        (zx + xz, yz + zy, squares[2], yx - xy),
        (zy - yz, xz - zx, yx - xy, squares[3]),
    )
    x, y, z, w = columns[squares.index(max(squares))]
    scale = (1.0 if w >= 0 else -1.0) / math.hypot(x, y, z, w)
    return scale * x, scale * y, scale * z, scale * w


def quaternion_to_rotation(quaternion: Floats) -> Floats:
    """(4,) unit x, y, z, w → (3, 3)."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_vector(rotation: Floats) -> Floats:
    """(3, 3) → (3,) axis times angle in rad, the angle in [0, π]; exact at half turns too."""
    x, y, z, w = _quaternion(rotation)
    sine = math.hypot(x, y, z)
    scale = 2.0 * math.atan2(sine, w) / sine if sine > 1e-15 else 0.0
    return np.array([scale * x, scale * y, scale * z])


def make_pose(rotation: Floats, position: Floats) -> Floats:
    """(3, 3), (3,) → (4, 4)."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = position
    return pose


def part_way(start: Floats, end: Floats, translation: float, rotation: float) -> Floats:
    """The pose (4, 4) that lies the given fractions of the way from `start` to `end`.

    The way is straight in position and turns about one fixed axis.
    """
    position = start[:3, 3] + translation * (end[:3, 3] - start[:3, 3])
    if rotation == 1.0:
        return make_pose(end[:3, :3], position)
    vector = rotation * rotation_vector(end[:3, :3] @ start[:3, :3].T)
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return make_pose(start[:3, :3], position)
    part = np.array([*(np.sin(angle / 2) / angle * vector), np.cos(angle / 2)])
    return make_pose(quaternion_to_rotation(part) @ start[:3, :3], position)


def state_to_pose(state: Floats) -> Floats:
    """Bridge state (≥ 6,) = [x, y, z, roll, pitch, yaw, …] → pose (4, 4)."""
    state = np.asarray(state, dtype=np.float64)
    return make_pose(euler_to_rotation(state[3:6]) @ TOOL_DOWN, state[:3])


def pose_to_state(pose: Floats, gripper: float) -> Floats:
    """Pose (4, 4) and Bridge gripper value (1 = open) → Bridge state (7,) float64."""
    return np.concatenate([pose[:3, 3], rotation_to_euler(pose[:3, :3] @ TOOL_DOWN.T), [gripper]])


def apply_action(target_pose: Floats, action: Floats, measured_pose: Floats) -> Floats:
    """Compose one Bridge action on the previous commanded target.

    Args:
        target_pose: (4, 4) previous target, really commanded.
        action: (≥ 6,) [dx, dy, dz] m along base axes and [droll, dpitch, dyaw] rad about base-aligned axes.
        measured_pose: (4, 4); its position is the pivot of the rotation, so tracking lag turns with it.

    Returns:
        (4, 4) next target: R' = R(a) · R, p' = R(a) · (p − p_measured) + p_measured + d.
    """
    action = np.asarray(action, dtype=np.float64)
    delta = euler_to_rotation(action[3:6])
    pivot = measured_pose[:3, 3]
    position = delta @ (target_pose[:3, 3] - pivot) + pivot + action[:3]
    return make_pose(delta @ target_pose[:3, :3], position)


def action_between(target_pose: Floats, next_target_pose: Floats, measured_pose: Floats) -> Floats:
    """Inverse of `apply_action`: the motion part (6,) that takes `target_pose` to `next_target_pose`."""
    delta = next_target_pose[:3, :3] @ target_pose[:3, :3].T
    pivot = measured_pose[:3, 3]
    translation = next_target_pose[:3, 3] - pivot - delta @ (target_pose[:3, 3] - pivot)
    return np.concatenate([translation, rotation_to_euler(delta)])
