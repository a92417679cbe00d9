"""Promise: the markers show what was sent in a run, and in a dry run, which sends nothing, what one command would do; a
late listener gets them, and the rviz file shows this graph's topics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from ament_index_python.packages import get_package_share_directory
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

from mqe_bringup.process import node
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.safety_rules import WORKSPACE
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import Command
from mqe_interfaces.msg import EndEffectorCommand
from mqe_ros import convert, topics
from mqe_ros.markers import AHEAD_S, CLIPPED, KEPT_S, REFUSED, SENT, IntendedPath
from tests.ros.ros_helpers import Client

SPEC = load_robot_spec()
REST = forward_kinematics(SPEC, SPEC.neutral_rad)
STEP = np.array([0.01, 0.0, -0.005])


def at(position: np.ndarray) -> np.ndarray:
    pose = REST.copy()
    pose[:3, 3] = position
    return pose


def outcome(position: np.ndarray, **changes) -> Command:
    command = Command(pose=at(position), gripper=1.0, stamp=0.0, session="s", sequence=1, frame_id=SPEC.base_frame)
    return replace(command, **changes)


def shown(message: MarkerArray) -> dict[str, Marker]:
    """By namespace; what is deleted is not shown."""
    assert all(marker.header.frame_id == SPEC.base_frame for marker in message.markers)
    return {marker.ns: marker for marker in message.markers if marker.action == Marker.ADD}


def points(marker: Marker) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in marker.points])


def test_a_run_draws_the_way_of_the_sent_targets() -> None:
    path, position = IntendedPath(SPEC, dry_run=False), REST[:3, 3]
    for k in range(3):
        clipped = (WORKSPACE,) if k == 1 else ()
        markers = shown(path.markers(at(position), outcome(position + STEP, clipped=clipped), Time()))
        assert ("words" in markers) == (k == 1)
        position = position + STEP
    np.testing.assert_allclose(points(markers["path"]), [REST[:3, 3] + k * STEP for k in range(4)])
    assert list(markers["path"].colors) == [SENT, SENT, CLIPPED, SENT]
    np.testing.assert_allclose(convert.pose_to_matrix(markers["target"].pose), at(position), atol=1e-9)
    assert markers["path"].lifetime.sec == 0 < markers["target"].lifetime.sec


def test_a_refused_command_is_red_and_no_part_of_the_way() -> None:
    path = IntendedPath(SPEC, dry_run=False)
    path.markers(REST, outcome(REST[:3, 3] + STEP), Time())
    markers = shown(path.markers(at(REST[:3, 3] + STEP), outcome(REST[:3, 3] + 0.2, refused="unreachable"), Time()))
    assert len(markers["path"].points) == 2 and markers["target"].color == REFUSED
    assert markers["words"].text == "refused: unreachable"


@pytest.mark.parametrize("changes", [{"pose": np.full((4, 4), np.nan)}, {"frame_id": "camera"}])
def test_what_cannot_be_drawn_in_the_base_frame_is_not_drawn(changes: dict) -> None:
    command = outcome(REST[:3, 3], refused="why", **changes)
    for dry_run in (False, True):
        markers = shown(IntendedPath(SPEC, dry_run).markers(REST, command, Time()))
        assert list(markers) == ["words"] and "refused: why" in markers["words"].text


def test_the_way_is_bounded_and_begins_anew_with_a_session_or_after_a_jump() -> None:
    path, position = IntendedPath(SPEC, dry_run=False), REST[:3, 3]
    kept = round(KEPT_S * SPEC.control.control_hz)
    for _ in range(kept + 10):
        markers = shown(path.markers(at(position), outcome(position), Time()))
    assert len(markers["path"].points) == len(markers["path"].colors) == kept
    other = shown(path.markers(at(position), outcome(position + STEP, session="t"), Time()))
    assert len(other["path"].points) == 2
    homed = position + 0.1
    jumped = shown(path.markers(at(homed), outcome(homed + STEP, session="t"), Time()))
    np.testing.assert_allclose(points(jumped["path"]), [homed, homed + STEP])


def test_a_dry_run_draws_the_newest_step_alone_continued_straight() -> None:
    path, start = IntendedPath(SPEC, dry_run=True), REST[:3, 3]
    path.markers(REST, outcome(start - STEP), Time())
    markers = shown(path.markers(REST, outcome(start + STEP), Time()))
    ahead = round(AHEAD_S * SPEC.control.control_hz)
    np.testing.assert_allclose(points(markers["path"]), [start + k * STEP for k in range(ahead + 1)])
    assert markers["words"].text.startswith("DRY RUN, nothing is sent") and markers["path"].lifetime.sec > 0
    assert "path" not in shown(path.markers(REST, outcome(start + STEP, refused="unreachable"), Time()))


@pytest.fixture
def dry_arm(ros: None, tmp_path: Path) -> Iterator[None]:
    """The arm node alone, in a dry run."""
    supervisor = Supervisor({}, log_folder=tmp_path)
    supervisor.start([node("arm_node", {"backend": "mock", "dry_run": True})])
    yield
    assert supervisor.stop() == {"arm_node": 0}, supervisor.log_tail("arm_node")


def test_a_dry_run_sends_nothing_and_judges_every_command_as_a_first_step(dry_arm: None, client: Client) -> None:
    arm = client
    publisher = arm.publisher(topics.COMMAND, 2)
    arm.wait(lambda: arm.newest("/arm/ee_target"), "the arm")
    rest = convert.pose_to_matrix(arm.newest("/arm/ee_target").pose)
    limit = SPEC.control.max_translation_step_m
    for sequence in range(1, 4):  # the same too long step again and again: clipped each time, as nothing came nearer
        target = rest.copy()
        target[2, 3] -= 1.6 * limit
        message = EndEffectorCommand(
            session="test", sequence=sequence, target=convert.matrix_to_pose(target), gripper=1.0
        )
        message.header.frame_id = SPEC.base_frame
        arm.heard["/arm/intended_path"].clear()
        publisher.publish(message)
        markers = shown(arm.wait(lambda: arm.newest("/arm/intended_path"), "the markers"))
        way = points(markers["path"])
        np.testing.assert_allclose(way[0], rest[:3, 3], atol=1e-6)
        np.testing.assert_allclose(way[1] - way[0], [0, 0, -limit], atol=1e-4)
        assert markers["words"].text.endswith("clipped: translation_step")
        arm.spin(SPEC.control.period_s)
    np.testing.assert_array_equal(convert.pose_to_matrix(arm.newest("/arm/ee_target").pose), rest)
    late = []
    topic = topics.INTENDED_PATH
    arm.node.create_subscription(topic.type, topic.name, late.append, topic.qos)
    arm.wait(lambda: late, "the latched markers")


def test_the_rviz_file_shows_this_graphs_topics() -> None:
    file = Path(get_package_share_directory("mqe_bringup")) / "rviz" / "widowx.rviz"
    manager = yaml.safe_load(file.read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == SPEC.base_frame
    types = {"Image": Image, "Pose": PoseStamped, "MarkerArray": MarkerArray}
    ours = {topic.name: topic for topic in topics.RECORDED}
    seen = set()
    for display in manager["Displays"]:
        if "Topic" not in display:
            continue
        asked, topic = display["Topic"], ours[display["Topic"]["Value"]]
        assert types[display["Class"].removeprefix("rviz_default_plugins/")] is topic.type, topic.name
        latched = topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert asked["Durability Policy"] == ("Transient Local" if latched else "Volatile"), topic.name
        # A camera driver may offer best effort only; all else here is reliable.
        assert asked["Reliability Policy"] == ("Best Effort" if topic is topics.IMAGE else "Reliable")
        assert topic.qos.reliability == ReliabilityPolicy.RELIABLE
        seen.add(topic.name)
    paths, poses = {"/arm/intended_path", "/policy/candidates"}, {"/arm/ee_pose", "/arm/ee_target"}
    assert seen == {"/camera/image_raw", "/goal/image", *paths, *poses}
