"""The judge of what was sent to a robot: PyBullet's kinematics and contacts of the sim's URDF, and the limits of the
robot file.

It shares no code with the safety filter: forward kinematics, rotations, contacts, joint names and limits are
PyBullet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pybullet

from mqe_core.robot.spec import RobotSpec

TOLERANCE = 5e-6  # m and rad
_TOUCH_M = 1e-4  # contacts of Bullet that are no deeper are none
_PARTS = np.arange(1, 9) / 8  # of the way to a target: where it is looked at; not where the filter looks
_HAND = ("gripper", "gripper_bar", "left_finger", "right_finger")
_LINKS = ("upper_arm", "upper_forearm", "lower_forearm", "wrist")
_ASLEEP_RAD = 0.3  # as near to the sleep joints the arm rests on itself
_UNFOLDING_M, _UNFOLDED_M = (
    0.006,
    0.02,
)  # how much deeper than asleep parts may touch while it unfolds, and how far apart they are when it has


@dataclass(frozen=True, eq=False)
class View:
    """The arm at some joints: position (3,) and quaternion of the end effector, and how deep hand and links are in the
    table and the arm in itself, metres ≤ 0.
    """

    position: np.ndarray
    quaternion: tuple
    hand_m: float
    links_m: float
    self_m: float


class Judge:
    """The arm of `spec` in PyBullet, only as a kinematic chain with shapes; `judge.step` objects by AssertionError."""

    def __init__(self, spec: RobotSpec, folder: Path) -> None:
        from mqe_sim.arm import urdf_text

        self.spec = spec
        urdf = folder / "arm.urdf"
        urdf.write_text(urdf_text(spec), encoding="utf-8")
        self._client = pybullet.connect(pybullet.DIRECT)
        client = {"physicsClientId": self._client}
        self._arm = pybullet.loadURDF(str(urdf), useFixedBase=True, flags=pybullet.URDF_USE_SELF_COLLISION, **client)
        info = [
            pybullet.getJointInfo(self._arm, i, **client) for i in range(pybullet.getNumJoints(self._arm, **client))
        ]
        revolute = [entry for entry in info if entry[2] == pybullet.JOINT_REVOLUTE]
        self._joints = [entry[0] for entry in revolute]
        self.lower, self.upper, self.velocity = (np.array([entry[i] for entry in revolute]) for i in (8, 9, 11))
        part = {entry[12].decode(): entry[0] for entry in info} | {"base": -1}
        self._tool, self._hand = part["ee"], {part[name] for name in _HAND}
        for finger in ("left_finger", "right_finger"):  # at their widest
            lower, upper = info[part[finger]][8:10]
            pybullet.resetJointState(self._arm, part[finger], max(lower, upper, key=abs), **client)
        plane = pybullet.createCollisionShape(pybullet.GEOM_PLANE, **client)
        self._table = pybullet.createMultiBody(0, plane, **client)
        meet = {(a, b) for a in ("base", "shoulder", "upper_arm") for b in (*_LINKS[1:], *_HAND)} - {
            ("upper_arm", "upper_forearm")
        }
        self._meet = [(part[a], part[b]) for a, b in meet]
        for a in part:
            pybullet.setCollisionFilterPair(self._arm, self._table, part[a], -1, int(a in _HAND + _LINKS), **client)
            for b in part:
                if a != b and (b, a) not in meet:
                    pybullet.setCollisionFilterPair(
                        self._arm, self._arm, part[a], part[b], int((a, b) in meet), **client
                    )

        self.resting_m = self.look(spec.sleep_rad).self_m

    def look(self, joints: np.ndarray) -> View:
        client = {"physicsClientId": self._client}
        pybullet.resetJointStatesMultiDof(self._arm, self._joints, [[float(value)] for value in joints], **client)
        tool = pybullet.getLinkState(self._arm, self._tool, computeForwardKinematics=1, **client)
        pybullet.performCollisionDetection(**client)
        hand = links = itself = 0.0
        for point in pybullet.getContactPoints(**client):
            depth = point[8] + _TOUCH_M
            if point[1] == point[2]:
                itself = min(itself, depth)
            elif (point[3] if point[1] == self._arm else point[4]) in self._hand:
                hand = min(hand, point[8])
            else:
                links = min(links, point[8])
        return View(np.array(tool[4]), tool[5], hand, links, itself)

    def step(self, walk: Walk, joints: np.ndarray, pose: np.ndarray, now: float, measured: np.ndarray) -> None:
        """Judge the command that was sent at `now` after those in `walk`, with the way to it; note it there. `measured`
        are the arm's joints then.
        """
        spec, control, start = self.spec, self.spec.control, walk.view
        assert np.isfinite(joints).all() and np.isfinite(pose).all()
        assert (joints >= self.lower).all() and (joints <= self.upper).all(), "joint position"
        elapsed = min(control.period_s, now - walk.time)
        assert (np.abs(joints - walk.joints) <= self.velocity * elapsed + 1e-8).all(), "joint velocity"
        cruising_s = control.profile_moving_time_s - control.profile_accel_time_s
        change = (
            control.max_joint_acceleration_rad_per_s2
            * control.profile_accel_time_s
            * cruising_s
            * elapsed
            / control.period_s
        )
        before = walk.velocity * elapsed if now - walk.time <= control.profile_moving_time_s else np.zeros(6)
        assert (joints - walk.joints <= np.maximum(before + change, 0) + 1e-8).all(), "joint acceleration"
        assert (joints - walk.joints >= np.minimum(before - change, 0) - 1e-8).all(), "joint acceleration"
        box = spec.workspace
        beyond = np.maximum(box.low_m - start.position, start.position - box.high_m).clip(min=0)
        floor = walk.floor_m
        # What is found beyond a limit, or as near to it as targets are not sent, may stay there, but not go farther
        # than the filter can see.
        half = 0.5 * min(box.path_clearance_m, box.table_clearance_m)
        bow = np.where((start.position < box.low_m + half) | (start.position > box.high_m - half), half, 0.0)
        for part in _PARTS:
            between = walk.joints + part * (joints - walk.joints)
            here = self.look(between)
            outside = np.maximum(box.low_m - here.position, here.position - box.high_m)
            assert (outside <= beyond + (bow if part < 1 else 0.0) + TOLERANCE).all(), "workspace"
            dip = half if floor < 0.0 and part < 1 else 0.0  # of a hand that was found in the table
            assert here.hand_m >= floor - dip - TOLERANCE, "hand in the table"
            assert here.links_m >= start.links_m - TOLERANCE, "arm in the table"
            if not self.is_asleep(between):
                # Until an arm that rested on itself has unfolded, the filter goes by the distance of capsules, which
                # are not these boxes.
                assert here.self_m >= (self.resting_m - _UNFOLDING_M if walk.folded else 0.0), "self-collision"
        np.testing.assert_allclose(pose[:3, 3], here.position, atol=TOLERANCE)
        turned = np.array(pybullet.getMatrixFromQuaternion(here.quaternion)).reshape(3, 3)
        np.testing.assert_allclose(pose[:3, :3], turned, atol=TOLERANCE)
        assert (np.abs(here.position - start.position) <= control.max_translation_step_m + TOLERANCE).all(), (
            "translation"
        )
        assert (np.abs(_turn(start.quaternion, here.quaternion)) <= control.max_rotation_step_rad + TOLERANCE).all(), (
            "rotation"
        )
        if not np.array_equal(measured, walk.joints):
            arm = self.look(measured)
            lag_m, was_m = (np.linalg.norm(view.position - arm.position) for view in (here, start))
            lag_rad, was_rad = (np.linalg.norm(_turn(arm.quaternion, view.quaternion)) for view in (here, start))
            assert was_m <= control.tracking_tolerance_m or lag_m <= was_m + TOLERANCE, "wind-up"
            assert was_rad <= control.tracking_tolerance_rad or lag_rad <= was_rad + TOLERANCE, "wind-up"
        walk.velocity = (joints - walk.joints) / elapsed
        walk.joints, walk.time, walk.view = joints, now, here
        walk.floor_m = min(0.0, max(floor, here.hand_m))
        walk.folded = self.is_asleep(joints) or (walk.folded and self._gap(joints) < _UNFOLDED_M)

    def is_asleep(self, joints: np.ndarray) -> bool:
        """Whether the arm is folded up: there it rests on itself."""
        return bool((np.abs(joints - self.spec.sleep_rad)[1:] < _ASLEEP_RAD).all())

    def _gap(self, joints: np.ndarray) -> float:
        """Metres between the two nearest parts that can meet, at most `_UNFOLDED_M`."""
        self.look(joints)
        client = {"physicsClientId": self._client}
        near = [
            point[8]
            for a, b in self._meet
            for point in pybullet.getClosestPoints(
                self._arm, self._arm, _UNFOLDED_M, linkIndexA=a, linkIndexB=b, **client
            )
        ]
        return min(near, default=_UNFOLDED_M)

    def close(self) -> None:
        pybullet.disconnect(self._client)


class Walk:
    """What has been sent so far: the last target, when, and what was found beyond a limit before the first."""

    def __init__(self, judge: Judge, joints: np.ndarray) -> None:
        self.joints, self.time, self.view = np.array(joints), -np.inf, judge.look(joints)
        self.velocity = np.zeros(6)
        self.floor_m = self.view.hand_m  # found too low it may stay so, and once higher not go back
        self.folded = self.view.self_m < 0.0 or judge.is_asleep(joints)


def _turn(before: tuple, after: tuple) -> np.ndarray:
    """(3,) rotation vector in base axes that takes one orientation to the other."""
    inverse = pybullet.invertTransform([0, 0, 0], before)[1]
    axis, angle = pybullet.getAxisAngleFromQuaternion(
        pybullet.multiplyTransforms([0, 0, 0], after, [0, 0, 0], inverse)[1]
    )
    return np.array(axis) * ((angle + np.pi) % (2 * np.pi) - np.pi)
