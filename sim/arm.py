"""The WidowX250 in PyBullet: a URDF generated from the spec, and position control at the motors' limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.parts import LinkSpec
from mqe_core.robot.spec import RobotSpec
from mqe_sim import urdf
from mqe_sim.urdf import numbers

if TYPE_CHECKING:  # the server's clients import this module and load no PyBullet
    from mqe_sim.bullet import Bullet

PHYSICS_HZ = 240  # PyBullet's native rate; contact parameters are tuned for it

# PyBullet's position gain is the share of the error removed in one physics step (with velocity gain 1). This one is
# fitted to the motors' own time profile (spec: 0.25 s moving, 0.10 s acceleration): benchmarks/step_response.py prints
# the fit.
ARM_POSITION_GAIN = 0.030
# The fingers close over their 25 mm in about a third of a second, as bridge_data_robot's 50 Hz PWM loop does.
FINGER_POSITION_GAIN = 0.03
_STILL_RAD_PER_S = 0.05
FINGER_FRICTION = 1.2  # rubber pads on the finger tips
_GEAR_MAX_FORCE_N = 50.0  # holds the two fingers symmetric, as the gripper's horn and linkage do


def urdf_text(spec: RobotSpec) -> str:
    """The arm as URDF: spec joints, inertials and boxes; the two finger slides; an `ee` frame of negligible mass."""
    parts = [f'<robot name="{spec.name}">', _link("base", spec.links.base)]
    parent = "base"
    for joint in spec.joints:
        parts.append(_link(joint.child, getattr(spec.links, joint.child)))
        parts.append(
            f'<joint name="{joint.name}" type="revolute"><parent link="{parent}"/><child link="{joint.child}"/>'
            f'<origin xyz="{numbers(joint.origin_m)}"/><axis xyz="{numbers(joint.axis)}"/>'
            f'<limit lower="{joint.lower_rad}" upper="{joint.upper_rad}" velocity="{joint.velocity_rad_per_s}" '
            f'effort="{joint.effort_nm}"/>'
            f'<dynamics friction="{spec.joint_friction}" damping="{spec.joint_damping}"/></joint>'
        )
        parent = joint.child
    parts.append(_link("gripper_bar", spec.links.gripper_bar))
    parts.append(_fixed("bar", parent, "gripper_bar", spec.tool.bar_offset_m))
    grip = spec.gripper
    for side, sign in (("left", 1), ("right", -1)):
        lower, upper = sorted((sign * grip.travel_lower_m, sign * grip.travel_upper_m))
        parts.append(_link(f"{side}_finger", getattr(spec.links, f"{side}_finger")))
        parts.append(
            f'<joint name="{side}_finger" type="prismatic"><parent link="{parent}"/><child link="{side}_finger"/>'
            f'<origin xyz="{spec.tool.fingers_offset_m} 0 0"/><axis xyz="0 1 0"/>'
            f'<limit lower="{lower}" upper="{upper}" velocity="{grip.velocity_m_per_s}" effort="{grip.effort_n}"/>'
            "</joint>"
        )
    # Bullet gives a link without an inertial a whole kilogram.
    parts.append(
        '<link name="ee"><inertial><mass value="1e-4"/>'
        '<inertia ixx="1e-8" iyy="1e-8" izz="1e-8" ixy="0" ixz="0" iyz="0"/></inertial></link>'
    )
    parts.append(_fixed("ee", parent, "ee", spec.tool.ee_offset_m))
    return "\n".join([*parts, "</robot>"])


def _link(name: str, link: LinkSpec) -> str:
    ixx, iyy, izz, ixy, ixz, iyz = link.inertia_kg_m2
    shapes = ""
    for i, shape in enumerate(link.shapes):
        geometry = (
            f'<origin xyz="{numbers(shape.position_m)}"/><geometry><box size="{numbers(shape.size_m)}"/></geometry>'
        )
        shapes += (
            f'<visual>{geometry}<material name="{name}{i}"><color rgba="{numbers(shape.rgba)}"/></material></visual>'
        )
        shapes += f"<collision>{geometry}</collision>"
    return (
        f'<link name="{name}"><inertial><mass value="{link.mass_kg}"/>'
        f'<origin xyz="{numbers(link.com_m)}" rpy="{numbers(link.com_rpy_rad)}"/>'
        f'<inertia ixx="{ixx}" iyy="{iyy}" izz="{izz}" ixy="{ixy}" ixz="{ixz}" iyz="{iyz}"/></inertial>{shapes}</link>'
    )


def _fixed(name: str, parent: str, child: str, x_m: float) -> str:
    ends = f'<parent link="{parent}"/><child link="{child}"/>'
    return f'<joint name="{name}" type="fixed">{ends}<origin xyz="{x_m} 0 0"/></joint>'


@dataclass(frozen=True, eq=False)
class ArmState:
    """What the arm measures and was told.

    Attributes:
        stamp: when, s.
        joints, target_joints: (6,) rad.
        gripper, target_gripper: in Bridge units (1 = open).
        gripper_effort_n: force of a closing finger.
    """

    stamp: float
    joints: Floats
    gripper: float
    gripper_effort_n: float
    target_joints: Floats
    target_gripper: float


class Arm:
    """One arm in a PyBullet client. Joints (6,) rad; gripper in Bridge units (1 = open)."""

    def __init__(self, bullet: Bullet, spec: RobotSpec) -> None:
        self._bullet, self._spec = bullet, spec
        flags = bullet.URDF_USE_INERTIA_FROM_FILE | bullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
        self.body = urdf.load(bullet, urdf_text(spec), useFixedBase=True, flags=flags)
        index = {bullet.getJointInfo(self.body, i)[1].decode(): i for i in range(bullet.getNumJoints(self.body))}
        self.links = {bullet.getJointInfo(self.body, i)[12].decode(): i for i in range(bullet.getNumJoints(self.body))}
        self._arm = [index[joint.name] for joint in spec.joints]
        self._fingers = [index["left_finger"], index["right_finger"]]
        self._finger_signs = np.array([1.0, -1.0])
        for finger in self._fingers:
            bullet.changeDynamics(
                self.body, finger, lateralFriction=FINGER_FRICTION, spinningFriction=0.005, rollingFriction=0.001
            )
        gear = bullet.createConstraint(
            self.body, self._fingers[0], self.body, self._fingers[1], bullet.JOINT_GEAR, [0, 1, 0], [0, 0, 0], [0, 0, 0]
        )
        bullet.changeConstraint(gear, gearRatio=1, erp=0.5, maxForce=_GEAR_MAX_FORCE_N)

    def reset(self, joints: Floats, gripper: float) -> None:
        """Put the arm at rest at `joints` and `gripper`, commanded there too. For scene building only."""
        for index, value in zip(self._arm, joints):
            self._bullet.resetJointState(self.body, index, float(value), 0.0)
        finger = self._spec.gripper.finger_position_m(gripper)
        for index, sign in zip(self._fingers, self._finger_signs):
            self._bullet.resetJointState(self.body, index, float(sign * finger), 0.0)
        self.command(joints, gripper)

    def command(self, joints: Floats, gripper: float) -> None:
        """Set the motors' targets. They keep them until the next command, within the spec's force and velocity."""
        for index, joint, target in zip(self._arm, self._spec.joints, joints):
            self._bullet.setJointMotorControl2(
                self.body,
                index,
                self._bullet.POSITION_CONTROL,
                targetPosition=float(target),
                positionGain=ARM_POSITION_GAIN,
                velocityGain=1.0,
                force=joint.effort_nm,
                maxVelocity=joint.velocity_rad_per_s,
            )
        self.target_joints: Floats = np.array(joints, dtype=np.float64)
        self.target_gripper = float(gripper)
        finger = self._spec.gripper.finger_position_m(gripper)
        for index, sign in zip(self._fingers, self._finger_signs):
            self._bullet.setJointMotorControl2(
                self.body,
                index,
                self._bullet.POSITION_CONTROL,
                targetPosition=float(sign * finger),
                positionGain=FINGER_POSITION_GAIN,
                velocityGain=1.0,
                force=self._spec.gripper.effort_n,
                maxVelocity=self._spec.gripper.velocity_m_per_s,
            )

    def joints(self) -> Floats:
        """Measured joint positions (6,) rad."""
        return np.array([state[0] for state in self._bullet.getJointStates(self.body, self._arm)])

    def gripper(self) -> float:
        """Measured gripper in Bridge units: the mean of the two fingers."""
        positions = np.array([state[0] for state in self._bullet.getJointStates(self.body, self._fingers)])
        return float(self._spec.gripper.gripper_value(float((positions * self._finger_signs).mean())))

    def gripper_effort_n(self) -> float:
        """Force in N with which the motor closes each of the two fingers, their mean; negative where it opens them."""
        forces = np.array([state[3] for state in self._bullet.getJointStates(self.body, self._fingers)])
        return float(-(forces * self._finger_signs).mean())

    def finger_contacts(self, body: int) -> int:
        """How many of the two fingers touch `body` now."""
        return sum(bool(self._bullet.getContactPoints(self.body, body, finger)) for finger in self._fingers)

    def is_still(self) -> bool:
        """Whether no joint turns faster than a hand at rest trembles."""
        return all(abs(state[1]) < _STILL_RAD_PER_S for state in self._bullet.getJointStates(self.body, self._arm))

    def touches(self, body: int) -> bool:
        """Whether any part of the arm touches `body` now."""
        return bool(self._bullet.getContactPoints(self.body, body))
