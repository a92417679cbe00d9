"""RobotSpec: the physical numbers of one robot, loaded strictly from robot_configs/; nothing else reads those files.

Every key is required, no other key is allowed, and every number is checked for finiteness, length and range. A mistake stops
the program with the file and the key: a robot has no silent defaults.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
import math
import typing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

Vector = np.ndarray  # float64, read-only


@dataclass(frozen=True, eq=False)
class ShapeSpec:
    """A primitive that stands for a link's mesh: `box` (x, y, z edge lengths), in the link's frame."""

    kind: str
    size_m: Vector
    position_m: Vector
    rgba: Vector


@dataclass(frozen=True, eq=False)
class LinkSpec:
    """Inertial and shapes of a link; inertia order ixx, iyy, izz, ixy, ixz, iyz about the centre of mass."""

    mass_kg: float
    com_m: Vector
    com_rpy_rad: Vector
    inertia_kg_m2: Vector
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
    origin_m: Vector
    axis: Vector
    lower_rad: float
    upper_rad: float
    velocity_rad_per_s: float
    effort_nm: float


@dataclass(frozen=True)
class ToolSpec:
    """Fixed frames along the gripper link's x axis, metres from gripper_link."""

    bar_offset_m: float
    fingers_offset_m: float
    ee_offset_m: float


@dataclass(frozen=True)
class GripperSpec:
    """Finger slide: position of gripper 0 (`closed_m`) and 1 (`open_m`), and the mechanical travel."""

    closed_m: float
    open_m: float
    travel_lower_m: float
    travel_upper_m: float
    velocity_m_per_s: float
    effort_n: float
    max_closing_effort_n: float

    def finger_position_m(self, gripper: float) -> float:
        """Bridge gripper value (1 = open) → finger slide position in metres, within the travel."""
        wanted = self.closed_m + gripper * (self.open_m - self.closed_m)
        return min(max(wanted, self.travel_lower_m), self.travel_upper_m)

    def gripper_value(self, finger_position_m: float) -> float:
        """Finger slide position in metres → Bridge gripper value (1 = open; may exceed 1 a little)."""
        return (finger_position_m - self.closed_m) / (self.open_m - self.closed_m)


@dataclass(frozen=True, eq=False)
class WorkspaceSpec:
    """Axis-aligned box that the end effector stays in, and the table that no part of the arm may touch; metres in the base frame."""

    low_m: Vector
    high_m: Vector
    path_clearance_m: float
    table_height_m: float
    table_clearance_m: float

    @property
    def low(self) -> Vector:
        return self.low_m

    @property
    def high(self) -> Vector:
        return self.high_m

    @cached_property
    def inner_low(self) -> Vector:
        """Lowest corner of where a waypoint may be: the way between two of them bows out, and must not leave the box either."""
        return self.low_m + self.path_clearance_m

    @cached_property
    def inner_high(self) -> Vector:
        """Highest corner of it."""
        return self.high_m - self.path_clearance_m


@dataclass(frozen=True)
class ControlSpec:
    """Rates, step limits and ages of the control loop."""

    control_hz: float
    max_translation_step_m: float
    max_rotation_step_rad: float
    max_joint_acceleration_rad_per_s2: float
    profile_moving_time_s: float
    profile_accel_time_s: float
    max_command_age_s: float
    max_joint_state_age_s: float
    max_frame_age_s: float
    tracking_tolerance_m: float
    tracking_tolerance_rad: float

    @property
    def period_s(self) -> float:
        """Seconds between two commands."""
        return 1.0 / self.control_hz

    @property
    def max_joint_step_change_rad(self) -> float:
        """By how much a joint's step may differ from the one a period before: from rest, the motors' time profile goes so far in
        `profile_moving_time_s` with `max_joint_acceleration_rad_per_s2` in its first `profile_accel_time_s`.
        """
        return (
            self.max_joint_acceleration_rad_per_s2
            * self.profile_accel_time_s
            * (self.profile_moving_time_s - self.profile_accel_time_s)
        )


@dataclass(frozen=True)
class HardwareSpec:
    """How the arm's own driver is spoken to: its name, the gripper's force loop, and when a motor is unwell."""

    driver_name: str
    gripper_loop_hz: float
    gripper_gain_per_m: float
    gripper_max_pwm: float
    gripper_hold_pwm: float
    gripper_stall_time_s: float
    gripper_still_m: float
    health_period_s: float
    max_motor_temperature_c: float


@dataclass(frozen=True, eq=False)
class CameraSpec:
    """A fixed pinhole camera: images per second, intrinsics in pixels, position and optical axis in the base frame."""

    name: str
    width_px: int
    height_px: int
    rate_hz: float
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    position_m: Vector
    look_direction: Vector

    @cached_property
    def rotation(self) -> np.ndarray:
        """(3, 3): columns are the camera's x (right), y (down) and z (forward) in the base frame."""
        forward = self.look_direction / np.linalg.norm(self.look_direction)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward], axis=1)


@dataclass(frozen=True, eq=False)
class RobotSpec:
    """One robot: kinematics, inertials, limits, workspace, control and camera."""

    name: str
    base_frame: str
    joints: tuple[JointSpec, ...]
    joint_friction: float
    joint_damping: float
    screw_axes: np.ndarray  # (6, 6): rows (omega, v)
    home_position_m: Vector
    links: LinksSpec
    tool: ToolSpec
    gripper: GripperSpec
    neutral_rad: Vector
    sleep_rad: Vector
    workspace: WorkspaceSpec
    control: ControlSpec
    hardware: HardwareSpec
    camera: CameraSpec
    source: str = (
        ""  # the file it was loaded from; what a process hands to its children, so that they load the same one
    )

    @cached_property
    def home_pose(self) -> np.ndarray:
        """(4, 4) pose of the end effector at joints zero."""
        pose = np.eye(4)
        pose[:3, 3] = self.home_position_m
        return pose

    @property
    def neutral_joints(self) -> Vector:
        return self.neutral_rad

    @property
    def sleep_joints(self) -> Vector:
        return self.sleep_rad

    @property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def joint_lower(self) -> Vector:
        return np.array([joint.lower_rad for joint in self.joints])

    @cached_property
    def joint_upper(self) -> Vector:
        return np.array([joint.upper_rad for joint in self.joints])

    @cached_property
    def joint_velocity(self) -> Vector:
        return np.array([joint.velocity_rad_per_s for joint in self.joints])


# Lengths of the array-valued keys, wherever they appear.
_LENGTHS = {
    "size_m": (3,), "position_m": (3,), "rgba": (4,), "com_m": (3,), "com_rpy_rad": (3,), "inertia_kg_m2": (6,),
    "origin_m": (3,), "axis": (3,), "screw_axes": (6, 6), "home_position_m": (3,), "neutral_rad": (6,), "sleep_rad": (6,),
    "low_m": (3,), "high_m": (3,), "look_direction": (3,),
}  # fmt: skip
_POSITIVE = {
    "mass_kg", "velocity_rad_per_s", "effort_nm", "velocity_m_per_s", "effort_n", "max_closing_effort_n", "control_hz", "max_translation_step_m",
    "max_rotation_step_rad", "profile_moving_time_s", "profile_accel_time_s", "max_command_age_s", "max_joint_state_age_s", "max_frame_age_s",
    "tracking_tolerance_m", "tracking_tolerance_rad", "max_joint_acceleration_rad_per_s2",
    "gripper_loop_hz", "gripper_gain_per_m", "gripper_max_pwm", "gripper_hold_pwm", "gripper_stall_time_s",
    "gripper_still_m", "health_period_s", "max_motor_temperature_c",
    "width_px", "height_px", "rate_hz", "fx_px", "fy_px", "bar_offset_m", "fingers_offset_m", "ee_offset_m",
}  # fmt: skip
_LOWEST_TABLE_M = (
    -0.5
)  # of a measured one: an arm does not reach farther below its mounting plane, and who gives -18 means millimetres


def load_robot_spec(path_or_name: str | Path = "widowx250s") -> RobotSpec:
    """Load a robot by the name of a shipped file (`widowx250s`) or by a path to a YAML file.

    Raises ValueError naming the file and the key when a key is unknown, missing, of the wrong type or out of range,
    and FileNotFoundError with what was looked for and the shipped names when there is no such file.
    """
    path = Path(path_or_name)
    folder = importlib.resources.files("mqe_robot_configs")
    if not path.suffix:
        path = Path(str(folder / f"{path_or_name}.yaml"))
    if not path.is_file():
        shipped = ", ".join(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml")))
        what = (
            f"no robot named {path_or_name!r}"
            if not Path(path_or_name).suffix
            else f"there is no robot file {path.absolute()}"
        )
        raise FileNotFoundError(f"{what}; give a path to a .yaml, or the name of a shipped one: {shipped}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error
    spec = _build(RobotSpec, content, str(path), "")
    _check_ranges(spec, str(path))
    return dataclasses.replace(spec, source=str(path.resolve()))


def with_table_height(spec: RobotSpec, height_m: float) -> RobotSpec:
    """The same robot on a table whose surface is `height_m` above its base's mounting plane. ValueError where that cannot be."""
    top = float(spec.workspace.high_m[2])
    if not _LOWEST_TABLE_M <= height_m < top:
        raise ValueError(
            f"the table's height above the arm's mounting plane must be from {_LOWEST_TABLE_M:g} m (lower, the arm does not reach it) to below "
            f"{top:g} m (the workspace's top), got {height_m:g}: is it in metres?"
        )
    return dataclasses.replace(spec, workspace=dataclasses.replace(spec.workspace, table_height_m=float(height_m)))


def say_table_height(height_m: float) -> str:
    """For people: "20 mm below the arm's mounting plane"."""
    return f"{1000 * abs(height_m):.0f} mm {'below' if height_m < 0 else 'above'} the arm's mounting plane"


def _build(cls: type, content: object, file: str, where: str):
    """Build dataclass `cls` from a mapping with exactly its fields; `where` is the dotted key so far."""
    if not isinstance(content, dict):
        raise ValueError(f"{file}: {where or 'top level'}: expected a mapping of keys, got {type(content).__name__}")
    fields = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
    hints = typing.get_type_hints(cls)
    for key in content:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            raise ValueError(
                f"{file}: unknown key {_join(where, key)}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    for key in fields:
        if key not in content:
            raise ValueError(f"{file}: missing key {_join(where, key)}")
    return cls(**{key: _convert(hints[key], key, content[key], file, _join(where, key)) for key in fields})


def _convert(hint: object, key: str, value: object, file: str, where: str):
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, file, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{file}: {where}: expected a list with at least one entry, got {value!r}")
        return tuple(_build(typing.get_args(hint)[0], item, file, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{file}: {where}: expected a text, got {value!r}")
        return value
    if hint is np.ndarray:
        return _array(value, _LENGTHS[key], file, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{file}: {where}: expected a finite number, got {value!r}")
    if hint is int and not isinstance(value, int):
        raise ValueError(f"{file}: {where}: expected a whole number, got {value!r}")
    if key in _POSITIVE and value <= 0:
        raise ValueError(f"{file}: {where}: must be greater than 0, got {value!r}")
    return hint(value)


def _array(value: object, shape: tuple[int, ...], file: str, where: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {where}: expected numbers of shape {shape}, got {value!r}") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{file}: {where}: expected finite numbers of shape {shape}, got {value!r}")
    array.flags.writeable = False
    return array


def _check_ranges(spec: RobotSpec, file: str) -> None:
    """Relations between keys that a type cannot say."""

    def require(ok: bool, key: str, message: str) -> None:
        if not ok:
            raise ValueError(f"{file}: {key}: {message}")

    require(len(spec.joints) == 6, "joints", f"expected 6 joints, got {len(spec.joints)}")
    for i, joint in enumerate(spec.joints):
        where = f"joints[{i}]"
        require(joint.lower_rad < joint.upper_rad, f"{where}.lower_rad", "must be below upper_rad")
        require(abs(np.linalg.norm(joint.axis) - 1) < 1e-9, f"{where}.axis", "must be a unit vector")
        require(hasattr(spec.links, joint.child), f"{where}.child", f"no link named {joint.child!r} under links")
    for key in ("neutral_rad", "sleep_rad"):
        inside = (getattr(spec, key) >= spec.joint_lower) & (getattr(spec, key) <= spec.joint_upper)
        require(bool(inside.all()), key, f"outside the joint limits at joint {int(np.argmin(inside))}")
    require(
        bool((spec.workspace.low_m < spec.workspace.high_m).all()),
        "workspace.low_m",
        "must be below high_m on every axis",
    )
    require(spec.workspace.path_clearance_m >= 0, "workspace.path_clearance_m", "must not be negative")
    inner = spec.workspace.high_m - spec.workspace.low_m > 2 * spec.workspace.path_clearance_m
    require(bool(inner.all()), "workspace.path_clearance_m", "leaves nothing of the box")
    require(spec.workspace.table_clearance_m >= 0, "workspace.table_clearance_m", "must not be negative")
    require(
        spec.workspace.table_height_m < spec.workspace.high_m[2],
        "workspace.table_height_m",
        "must be below the workspace's top",
    )
    control, gripper = spec.control, spec.gripper
    slow_enough = control.profile_accel_time_s <= 0.5 * control.profile_moving_time_s
    require(slow_enough, "control.profile_accel_time_s", "must be at most half of profile_moving_time_s")
    require(gripper.closed_m < gripper.open_m, "gripper.closed_m", "must be below open_m")
    require(gripper.travel_lower_m <= gripper.closed_m, "gripper.closed_m", "must not be below travel_lower_m")
    require(gripper.open_m <= gripper.travel_upper_m, "gripper.open_m", "must not be above travel_upper_m")
    require(
        spec.hardware.gripper_hold_pwm <= spec.hardware.gripper_max_pwm,
        "hardware.gripper_hold_pwm",
        "must not be above gripper_max_pwm",
    )
    require(spec.joint_friction >= 0, "joint_friction", "must not be negative")
    require(spec.joint_damping >= 0, "joint_damping", "must not be negative")
    across = np.cross(spec.camera.look_direction, [0.0, 0.0, 1.0])
    require(
        np.linalg.norm(across) > 1e-6,
        "camera.look_direction",
        "must not be vertical: which way is up would be undetermined",
    )
    for name in (field.name for field in dataclasses.fields(LinksSpec)):
        ixx, iyy, izz, ixy, ixz, iyz = getattr(spec.links, name).inertia_kg_m2
        inertia = np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])
        require(
            bool((np.linalg.eigvalsh(inertia) > 0).all()), f"links.{name}.inertia_kg_m2", "must be positive definite"
        )
        for j, shape in enumerate(getattr(spec.links, name).shapes):
            require(shape.kind == "box", f"links.{name}.shapes[{j}].kind", f"known kinds: box; got {shape.kind!r}")
            require(bool((shape.size_m > 0).all()), f"links.{name}.shapes[{j}].size_m", "must be greater than 0")


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
