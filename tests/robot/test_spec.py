"""The robot spec is strict: every mistake is named with its file and key."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest
import yaml

from mqe_core.robot.spec import load_robot_spec, with_table_height


@pytest.fixture
def content() -> dict:
    text = (importlib.resources.files("mqe_robot_configs") / "widowx250s.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def load(tmp_path, content: dict):
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_robot_spec(path)


def test_the_shipped_robot_loads_and_its_values_are_read_only():
    spec = load_robot_spec("widowx250s")
    assert spec.joint_names == ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
    assert spec.control.period_s == pytest.approx(0.2)
    with pytest.raises(ValueError):
        spec.neutral_rad[0] = 1.0


def test_screws_and_home_pose_agree_with_the_joint_origins():
    """The product of exponentials and the URDF chain are two statements of one geometry."""
    spec = load_robot_spec()
    point = np.zeros(3)
    for joint, screw in zip(spec.joints, spec.screw_axes):
        point = point + joint.origin_m
        np.testing.assert_allclose(screw, [*joint.axis, *-np.cross(joint.axis, point)], atol=1e-12)
    np.testing.assert_allclose(spec.home_position_m, point + [spec.tool.ee_offset_m, 0, 0], atol=1e-12)


def test_gripper_values_map_to_finger_positions_and_back():
    gripper = load_robot_spec().gripper
    assert gripper.finger_position_m(1.0) == pytest.approx(0.035)
    assert gripper.gripper_value(gripper.finger_position_m(0.4)) == pytest.approx(0.4)
    assert gripper.finger_position_m(2.0) == gripper.travel_upper_m


def test_the_camera_looks_along_its_direction_with_the_image_upright():
    camera = load_robot_spec().camera
    rotation = camera.rotation
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(rotation[:, 0], rotation[:, 1]), rotation[:, 2], atol=1e-12)
    assert rotation[2, 1] < 0  # image down points towards the floor
    assert rotation[2, 0] == pytest.approx(0)  # and the horizon is level


def test_a_loaded_file_is_remembered_for_child_processes(tmp_path, content):
    content["workspace"]["low_m"] = [0.1, -0.15, 0.05]
    spec = load(tmp_path, content)
    assert load_robot_spec(spec.source).workspace.low_m[2] == 0.05
    assert load_robot_spec(load_robot_spec().source).workspace.low_m[2] == -0.01


def test_an_unknown_name_lists_the_shipped_robots():
    with pytest.raises(FileNotFoundError, match="widowx250s"):
        load_robot_spec("widowx200")


def test_an_unknown_key_is_named_with_a_suggestion(tmp_path, content):
    content["control"]["control_hertz"] = 5.0
    with pytest.raises(ValueError, match=r"robot\.yaml: unknown key control\.control_hertz; did you mean 'control_hz'"):
        load(tmp_path, content)


def test_a_missing_key_is_named(tmp_path, content):
    del content["workspace"]["low_m"]
    with pytest.raises(ValueError, match=r"robot\.yaml: missing key workspace\.low_m"):
        load(tmp_path, content)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("control", "control_hz"), 0, r"control\.control_hz: must be greater than 0"),
        (("control", "control_hz"), "five", r"control\.control_hz: expected a finite number"),
        (("control", "control_hz"), True, r"control\.control_hz: expected a finite number"),
        (("control", "control_hz"), float("nan"), r"control\.control_hz: expected a finite number"),
        (("workspace", "low_m"), [0, 0], r"workspace\.low_m: expected finite numbers of shape \(3,\)"),
        (("workspace", "low_m"), [1, 1, 1], r"workspace\.low_m: must be below high_m"),
        (("camera", "width_px"), 640.5, r"camera\.width_px: expected a whole number"),
        (("gripper", "closed_m"), 0.05, r"gripper\.closed_m: must be below open_m"),
        (("gripper", "closed_m"), -1.0, r"gripper\.closed_m: must not be below travel_lower_m"),
        (("camera", "look_direction"), [0, 0, -1], r"camera\.look_direction: must not be vertical"),
        (
            ("links", "base", "inertia_kg_m2"),
            [-1, 1, 1, 0, 0, 0],
            r"links\.base\.inertia_kg_m2: must be positive definite",
        ),
        (("joint_friction",), -0.1, r"joint_friction: must not be negative"),
        (("neutral_rad",), [9, 0, 0, 0, 0, 0], r"neutral_rad: outside the joint limits at joint 0"),
        (("joints",), [], r"joints: expected a list"),
        (("name",), "", r"name: expected a text"),
        (("links",), 3, r"links: expected a mapping"),
    ],
)
def test_a_bad_value_is_named(tmp_path, content, where, value, message):
    target = content
    for key in where[:-1]:
        target = target[key]
    target[where[-1]] = value
    with pytest.raises(ValueError, match=message):
        load(tmp_path, content)


def test_bad_joints_are_named_by_index(tmp_path, content):
    content["joints"][2]["lower_rad"] = 3.0
    with pytest.raises(ValueError, match=r"joints\[2\]\.lower_rad: must be below upper_rad"):
        load(tmp_path, content)
    content["joints"][2]["lower_rad"] = -1.0
    content["joints"][4]["child"] = "elbow_pad"
    with pytest.raises(ValueError, match=r"joints\[4\]\.child: no link named 'elbow_pad'"):
        load(tmp_path, content)


def test_broken_yaml_names_the_file(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(ValueError, match=r"robot\.yaml: not valid YAML"):
        load_robot_spec(path)


@pytest.mark.parametrize("height", [-18.0, -5.0, -0.51, 0.25, 20.0, float("nan"), float("inf"), -float("inf")])
def test_a_table_that_the_arm_cannot_stand_at_is_refused(height: float) -> None:
    with pytest.raises(ValueError, match=f"must be from -0.5 m .* to below 0.25 m .*, got {height:g}: is it in metres"):
        with_table_height(load_robot_spec(), height)
    assert with_table_height(load_robot_spec(), -0.018).workspace.table_height_m == -0.018


def test_a_robot_file_that_is_not_there_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError,
        match=f"no robot file {tmp_path}/widowx250s.yaml; give .* the name of a shipped one: widowx250s",
    ):
        load_robot_spec("widowx250s.yaml")
