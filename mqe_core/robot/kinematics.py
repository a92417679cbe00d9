"""Forward kinematics, Jacobian and inverse kinematics of the six-joint arm in the spec.

The pose is that of `ee_gripper_link` in `base_link`, (4, 4), metres; joints are (6,) rad, waist to wrist_rotate.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.geometry import rotation_angle, rotation_vector
from mqe_core.robot.spec import RobotSpec

POSITION_TOLERANCE_M = 1e-3  # what counts as solved; bridge_data_robot's IK uses the same two figures
ROTATION_TOLERANCE_RAD = 1e-3
_LIMIT_SLACK_RAD = 1e-9  # rounding of a solution that lies on a limit
_NEARLY_RAD = 0.01  # a branch this close outside a limit may still have a solution within the tolerances
_EYE = np.eye(4)
_EYE.flags.writeable = False
_STRETCH_SLACK = 4e-3  # cosine of the elbow bend this far past 1: an arm stretched half a millimetre too far


def forward_kinematics(spec: RobotSpec, joints: Floats) -> Floats:
    """Joints (..., 6) → poses (..., 4, 4): the product of exponentials of `spec.screw_axes`, times the home pose."""
    motions = _screw_motions(spec, np.asarray(joints, dtype=np.float64))  # (..., 6, 4, 4)
    pairs = motions[..., 0::2, :, :] @ motions[..., 1::2, :, :]
    return pairs[..., 0, :, :] @ pairs[..., 1, :, :] @ (pairs[..., 2, :, :] @ spec.home_pose)


def joint_frames(spec: RobotSpec, joints: Floats) -> Floats:
    """Joints (..., 6) → (..., 7, 4, 4): the base's frame and the one after each joint, as the spec's links use them."""
    motions = _screw_motions(spec, np.asarray(joints, dtype=np.float64))
    frames = np.empty((*motions.shape[:-3], 7, 4, 4))
    frames[..., 0, :, :] = _EYE
    for i in range(6):
        np.matmul(frames[..., i, :, :], motions[..., i, :, :], out=frames[..., i + 1, :, :])
    return frames @ _frames_at_zero(spec)


@lru_cache(maxsize=16)
def _frames_at_zero(spec: RobotSpec) -> Floats:
    """(7, 4, 4): at zero joints every frame is parallel to the base's."""
    frames = np.tile(_EYE, (7, 1, 1))
    frames[1:, :3, 3] = np.cumsum([joint.origin_m for joint in spec.joints], axis=0)
    frames.flags.writeable = False
    return frames


def jacobian(spec: RobotSpec, joints: Floats) -> Floats:
    """Joints (6,) → (6, 6), one column per joint.

    Rows: the end effector's linear velocity (m/s), then its angular velocity (rad/s), both along base axes.
    """
    position = forward_kinematics(spec, joints)[:3, 3]
    pose = np.eye(4)
    columns = []
    for screw, motion in zip(spec.screw_axes, _screw_motions(spec, np.asarray(joints, dtype=np.float64))):
        axis = pose[:3, :3] @ screw[:3]
        # A screw's v is the velocity of the base's origin; the line below moves it to the end effector.
        origin_velocity = pose[:3, :3] @ screw[3:] + np.cross(pose[:3, 3], axis)
        columns.append(np.concatenate([origin_velocity + np.cross(axis, position), axis]))
        pose = pose @ motion
    return np.stack(columns, axis=1)


def inverse_kinematics(spec: RobotSpec, pose: Floats, seed: Floats) -> Floats | None:
    """Joints (6,) that reach `pose` (4, 4) within the limits, on the branch nearest to `seed` (6,).

    None where no joints do.
    """
    found = reach(spec, pose, seed)
    return None if found is None else found[0]


def reach(spec: RobotSpec, pose: Floats, seed: Floats) -> tuple[Floats, Floats] | None:
    """The joints of `inverse_kinematics` and the pose (4, 4) that they reach.

    The last three axes meet in the wrist's centre, so all branches have a closed form. A branch may miss a limit by
    less than the tolerances: a stretched arm, a joint at its stop. Clipping alone would lose accuracy there, so damped
    least-squares steps follow. Forward kinematics checks every result to `POSITION_TOLERANCE_M` and
    `ROTATION_TOLERANCE_RAD`.
    """
    seed = np.asarray(seed, dtype=np.float64)
    branches = _closed_form_branches(spec, pose, seed)
    if len(branches) == 0:
        return None
    excess = np.maximum(spec.joint_lower - branches, branches - spec.joint_upper).max(axis=1)
    distance = np.abs(branches - seed).max(axis=1)
    within, nearly = excess <= _LIMIT_SLACK_RAD, excess < _NEARLY_RAD
    if within.any():
        best = np.clip(_nearest(branches[within], distance[within]), spec.joint_lower, spec.joint_upper)
        reached = forward_kinematics(spec, best)
        return (best, reached) if _is_at(reached, pose) else _damped_steps(spec, pose, best)
    return _damped_steps(spec, pose, _nearest(branches[nearly], distance[nearly])) if nearly.any() else None


def _nearest(branches: Floats, distance: Floats) -> Floats:
    nearest: Floats = branches[int(distance.argmin())]
    return nearest


def _screw_motions(spec: RobotSpec, joints: Floats) -> Floats:
    """Joints (..., 6) → (..., 6, 4, 4): exp([screw] angle) of each axis, which is linear in sin and 1 - cos."""
    of_sine, of_versine = _screw_bases(spec)
    angles = joints[..., None, None]
    return _EYE + np.sin(angles) * of_sine + (1.0 - np.cos(angles)) * of_versine


@lru_cache(maxsize=16)
def _screw_bases(spec: RobotSpec) -> tuple[Floats, Floats]:
    """What sin and 1 - cos of each angle are multiplied with, (6, 4, 4) each.

    A revolute axis has no pitch: omega . v = 0.
    """
    of_sine, of_versine = np.zeros((6, 4, 4)), np.zeros((6, 4, 4))
    for i, (wx, wy, wz, *v) in enumerate(spec.screw_axes):
        cross = np.array([[0.0, -wz, wy], [wz, 0.0, -wx], [-wy, wx, 0.0]])
        of_sine[i, :3, :3], of_sine[i, :3, 3] = cross, -cross @ cross @ v
        of_versine[i, :3, :3], of_versine[i, :3, 3] = cross @ cross, cross @ v
    return of_sine, of_versine


def _closed_form_branches(spec: RobotSpec, pose: Floats, seed: Floats) -> Floats:
    """(n, 6): up to eight joint vectors (waist front/back × elbow up/down × wrist flip) in (−π, π].

    Limits are not checked. As Python floats: a call of NumPy costs twenty times as much as a sine.
    """
    arm = _arm_lengths(spec)
    rotation = pose[:3, :3].tolist()
    x, y, z = (float(pose[i, 3]) - arm.hand * rotation[i][0] for i in range(3))  # the wrist's centre
    radius, height = math.hypot(x, y), z - arm.shoulder_height
    cosine = (radius**2 + height**2 - arm.upper**2 - arm.forearm**2) / (2 * arm.upper * arm.forearm)
    if abs(cosine) > 1.0 + _STRETCH_SLACK:
        return np.empty((0, 6))
    # Above the waist's axis the waist may point anywhere: keep the seed's.
    bearing = math.atan2(y, x) if radius > 1e-9 else float(seed[0])
    bend = math.acos(min(max(cosine, -1.0), 1.0))
    branches = []
    for (waist, reach), elbow_bend in itertools.product(
        ((bearing, radius), (bearing + math.pi, -radius)), (bend, -bend)
    ):
        lean = math.atan2(reach, height) - math.atan2(
            arm.forearm * math.sin(elbow_bend), arm.upper + arm.forearm * math.cos(elbow_bend)
        )
        shoulder = lean - arm.upper_lean
        elbow = elbow_bend + arm.upper_lean - math.pi / 2
        for wrist in _wrist_angles(waist, shoulder + elbow, rotation, float(seed[3])):
            branches.append((waist, shoulder, elbow, *wrist))
    return _wrap(np.array(branches))


@dataclass(frozen=True)
class _ArmLengths:
    """What the closed form needs, m and rad."""

    shoulder_height: float
    upper: float  # shoulder to elbow
    upper_lean: float  # of that line, from the vertical
    forearm: float  # elbow to wrist
    hand: float  # wrist to tool


@lru_cache(maxsize=16)
def _arm_lengths(spec: RobotSpec) -> _ArmLengths:
    origins = [joint.origin_m.tolist() for joint in spec.joints]
    return _ArmLengths(
        shoulder_height=origins[0][2] + origins[1][2],
        upper=math.hypot(origins[2][0], origins[2][2]),
        upper_lean=math.atan2(origins[2][0], origins[2][2]),
        forearm=origins[3][0] + origins[4][0],
        hand=origins[5][0] + spec.tool.ee_offset_m,
    )


def _wrist_angles(
    waist: float, pitch: float, rotation: list[list[float]], roll_of_seed: float
) -> list[tuple[float, float, float]]:
    """Both solutions of Rx(q4) · Ry(q5) · Rx(q6) = (Rz(waist) · Ry(pitch))ᵀ · rotation, a list of rows."""
    c0, s0, c1, s1 = math.cos(waist), math.sin(waist), math.cos(pitch), math.sin(pitch)
    columns = ((c0 * c1, s0 * c1, -s1), (-s0, c0, 0.0), (c0 * s1, s0 * s1, c1))  # of the forearm's rotation
    (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = rotation
    wrist = [
        (a * r00 + b * r10 + c * r20, a * r01 + b * r11 + c * r21, a * r02 + b * r12 + c * r22) for a, b, c in columns
    ]
    sine = math.hypot(wrist[1][0], wrist[2][0])
    if sine < 1e-7:  # roll and rotate share an axis: only their sum (or difference) is determined, keep the seed's roll
        if wrist[0][0] > 0:
            return [(roll_of_seed, 0.0, math.atan2(wrist[2][1], wrist[1][1]) - roll_of_seed)]
        return [(roll_of_seed, math.pi, roll_of_seed - math.atan2(-wrist[2][1], wrist[1][1]))]
    roll, bend, rotate = (
        math.atan2(wrist[1][0], -wrist[2][0]),
        math.atan2(sine, wrist[0][0]),
        math.atan2(wrist[0][1], wrist[0][2]),
    )
    return [(roll, bend, rotate), (roll + math.pi, -bend, rotate + math.pi)]


def _damped_steps(
    spec: RobotSpec, pose: Floats, seed: Floats, steps: int = 20, damping: float = 1e-4
) -> tuple[Floats, Floats] | None:
    """Levenberg-Marquardt from the seed, clipped to the joint limits at every step; the joints and what they reach."""
    lower, upper = spec.joint_lower, spec.joint_upper
    joints = np.clip(seed, lower, upper)
    for _ in range(steps):
        current = forward_kinematics(spec, joints)
        if _is_at(current, pose):
            return joints, current
        error = np.concatenate([pose[:3, 3] - current[:3, 3], rotation_vector(pose[:3, :3] @ current[:3, :3].T)])
        j = jacobian(spec, joints)
        joints = np.clip(joints + j.T @ np.linalg.solve(j @ j.T + damping * np.eye(6), error), lower, upper)
    return None


def _is_at(reached: Floats, pose: Floats) -> bool:
    return (
        math.dist(reached[:3, 3], pose[:3, 3]) < POSITION_TOLERANCE_M
        and rotation_angle(reached[:3, :3], pose[:3, :3]) < ROTATION_TOLERANCE_RAD
    )


def _wrap(joints: Floats) -> Floats:
    """Angles to (−π, π]."""
    return -((np.pi - joints) % (2 * np.pi) - np.pi)
