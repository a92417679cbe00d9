"""The parts of a robot spec: links, joints, tool, gripper, workspace, control, hardware and camera.

Each class is one mapping of the YAML file, each field one key of it. The unit stands in the key's name, the permitted
values in its type; `robot_configs/` says where each number comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.robot.strict_yaml import Positive, PositiveInt, Rgba, Vector3, Vector6


@dataclass(frozen=True, eq=False)
class ShapeSpec:
    """A primitive that stands for a link's mesh: `box` (x, y, z edge lengths), in the link's frame."""

    kind: str
    size_m: Vector3
    position_m: Vector3
    rgba: Rgba


@dataclass(frozen=True, eq=False)
class LinkSpec:
    """Inertial and shapes of a link; inertia order ixx, iyy, izz, ixy, ixz, iyz about the centre of mass."""

    mass_kg: Positive
    com_m: Vector3
    com_rpy_rad: Vector3
    inertia_kg_m2: Vector6
    shapes: tuple[ShapeSpec, ...]


@dataclass(frozen=True, eq=False)
class LinksSpec:
    """The links that carry mass, by the names the joints use."""

    base: LinkSpec
    shoulder: LinkSpec
    upper_arm: LinkSpec
    upper_forearm: LinkSpec
    lower_forearm: LinkSpec
    wrist: LinkSpec
    gripper: LinkSpec
    gripper_bar: LinkSpec
    left_finger: LinkSpec
    right_finger: LinkSpec


@dataclass(frozen=True, eq=False)
class JointSpec:
    """A revolute joint: origin relative to the previous joint's frame, axis in it."""

    name: str
    child: str
    origin_m: Vector3
    axis: Vector3
    lower_rad: float
    upper_rad: float
    velocity_rad_per_s: Positive
    effort_nm: Positive


@dataclass(frozen=True)
class ToolSpec:
    """Fixed frames along the gripper link's x axis, metres from gripper_link."""

    bar_offset_m: Positive
    fingers_offset_m: Positive
    ee_offset_m: Positive


@dataclass(frozen=True)
class GripperSpec:
    """Finger slide: position of gripper 0 (`closed_m`) and 1 (`open_m`), and the mechanical travel."""

    closed_m: float
    open_m: float
    travel_lower_m: float
    travel_upper_m: float
    velocity_m_per_s: Positive
    effort_n: Positive
    max_closing_effort_n: Positive

    def finger_position_m(self, gripper: float) -> float:
        """Bridge gripper value (1 = open) → finger slide position in metres, within the travel."""
        wanted = self.closed_m + gripper * (self.open_m - self.closed_m)
        return min(max(wanted, self.travel_lower_m), self.travel_upper_m)

    def gripper_value(self, finger_position_m: float) -> float:
        """Finger slide position in metres → Bridge gripper value (1 = open; may exceed 1 a little)."""
        return (finger_position_m - self.closed_m) / (self.open_m - self.closed_m)


@dataclass(frozen=True, eq=False)
class WorkspaceSpec:
    """The box that the end effector stays in, and the table that no part of the arm may touch.

    Metres in the base frame; the box's edges are parallel to its axes.
    """

    low_m: Vector3
    high_m: Vector3
    path_clearance_m: float
    table_height_m: float
    table_clearance_m: float

    @cached_property
    def inner_low(self) -> Floats:
        """Lowest corner of where a target may be.

        The way between two targets bows out, and must stay in the box too.
        """
        return self.low_m + self.path_clearance_m

    @cached_property
    def inner_high(self) -> Floats:
        """Highest corner of where a target may be."""
        return self.high_m - self.path_clearance_m


@dataclass(frozen=True)
class ControlSpec:
    """Rates, step limits and ages of the control loop."""

    control_hz: Positive
    max_translation_step_m: Positive
    max_rotation_step_rad: Positive
    max_joint_acceleration_rad_per_s2: Positive
    profile_moving_time_s: Positive
    profile_accel_time_s: Positive
    max_command_age_s: Positive
    max_joint_state_age_s: Positive
    max_frame_age_s: Positive
    tracking_tolerance_m: Positive
    tracking_tolerance_rad: Positive

    @property
    def period_s(self) -> float:
        """Seconds between two commands."""
        return 1.0 / self.control_hz

    @property
    def max_joint_step_change_rad(self) -> float:
        """By how much a joint's step may differ from its step a period before.

        So far the motors' time profile goes from rest in `profile_moving_time_s` when it accelerates with
        `max_joint_acceleration_rad_per_s2` for `profile_accel_time_s`.
        """
        return (
            self.max_joint_acceleration_rad_per_s2
            * self.profile_accel_time_s
            * (self.profile_moving_time_s - self.profile_accel_time_s)
        )


@dataclass(frozen=True)
class HardwareSpec:
    """How the arm's own driver is spoken to: its name, the gripper's force loop, and which motors are healthy."""

    driver_name: str
    gripper_loop_hz: Positive
    gripper_gain_per_m: Positive
    gripper_max_pwm: Positive
    gripper_hold_pwm: Positive
    gripper_stall_time_s: Positive
    gripper_still_m: Positive
    health_period_s: Positive
    max_motor_temperature_c: Positive


@dataclass(frozen=True, eq=False)
class CameraSpec:
    """A fixed pinhole camera: images per second, intrinsics in pixels, position and optical axis in the base frame."""

    name: str
    width_px: PositiveInt
    height_px: PositiveInt
    rate_hz: Positive
    fx_px: Positive
    fy_px: Positive
    cx_px: float
    cy_px: float
    position_m: Vector3
    look_direction: Vector3

    @cached_property
    def rotation(self) -> Floats:
        """(3, 3): columns are the camera's x (right), y (down) and z (forward) in the base frame."""
        forward = self.look_direction / np.linalg.norm(self.look_direction)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward], axis=1)
