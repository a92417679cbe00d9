"""RobotSpec: the physical numbers of one robot, loaded strictly from robot_configs/; nothing else reads those files.

A robot has no silent defaults. Every key is required and no other is allowed. Every number is checked. A mistake stops
the program with the file and the key.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mqe_core.files.text import read_yaml
from mqe_core.robot.arrays import Floats
from mqe_core.robot.parts import (
    CameraSpec,
    ControlSpec,
    GripperSpec,
    HardwareSpec,
    JointSpec,
    LinksSpec,
    ToolSpec,
    WorkspaceSpec,
)
from mqe_core.robot.strict_yaml import Matrix6, Vector3, Vector6, build

# The arm does not reach farther below its mounting plane, and whoever gives -18 means millimetres.
_LOWEST_TABLE_M = -0.5


@dataclass(frozen=True, eq=False)
class RobotSpec:
    """One robot: kinematics, inertials, limits, workspace, control and camera."""

    name: str
    base_frame: str
    joints: tuple[JointSpec, ...]
    joint_friction: float
    joint_damping: float
    screw_axes: Matrix6  # rows (omega, v)
    home_position_m: Vector3
    links: LinksSpec
    tool: ToolSpec
    gripper: GripperSpec
    neutral_rad: Vector6  # where homing leads to
    sleep_rad: Vector6  # folded, where the motors may lose their torque
    workspace: WorkspaceSpec
    control: ControlSpec
    hardware: HardwareSpec
    camera: CameraSpec
    source: str = ""  # the file it was loaded from; child processes are given it, so that they load the same one

    @cached_property
    def home_pose(self) -> Floats:
        """(4, 4) pose of the end effector at joints zero."""
        pose = np.eye(4)
        pose[:3, 3] = self.home_position_m
        return pose

    @property
    def joint_names(self) -> tuple[str, ...]:
        """From waist to wrist."""
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def joint_lower(self) -> Floats:
        """(6,) rad."""
        return np.array([joint.lower_rad for joint in self.joints])

    @cached_property
    def joint_upper(self) -> Floats:
        """(6,) rad."""
        return np.array([joint.upper_rad for joint in self.joints])

    @cached_property
    def joint_velocity(self) -> Floats:
        """(6,) rad/s: the most that each joint may turn with."""
        return np.array([joint.velocity_rad_per_s for joint in self.joints])


def load_robot_spec(path_or_name: str | Path = "widowx250s") -> RobotSpec:
    """Load a robot by the name of a shipped file (`widowx250s`) or by a path to a YAML file.

    ValueError, naming the file and the key, where a key is unknown, missing, of the wrong type or out of range.
    FileNotFoundError, with what was looked for and the shipped names, where there is no such file.
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
    spec = build(RobotSpec, read_yaml(path), str(path))
    _check_relations(spec, str(path))
    return dataclasses.replace(spec, source=str(path.resolve()))


def with_table_height(spec: RobotSpec, height_m: float) -> RobotSpec:
    """The same robot on a table whose surface is `height_m` above the base's mounting plane.

    ValueError where no table can be there.
    """
    top = float(spec.workspace.high_m[2])
    if not _LOWEST_TABLE_M <= height_m < top:
        raise ValueError(
            f"the table's height above the arm's mounting plane must be from {_LOWEST_TABLE_M:g} m (lower, the "
            f"arm does not reach it) to below {top:g} m (the workspace's top), got {height_m:g}: is it in metres?"
        )
    return dataclasses.replace(spec, workspace=dataclasses.replace(spec.workspace, table_height_m=float(height_m)))


def say_table_height(height_m: float) -> str:
    """For people: "20 mm below the arm's mounting plane"."""
    return f"{1000 * abs(height_m):.0f} mm {'below' if height_m < 0 else 'above'} the arm's mounting plane"


def _check_relations(spec: RobotSpec, file: str) -> None:
    """Relations between keys that a type cannot say."""

    def require(ok: bool | np.bool_, key: str, message: str) -> None:
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
