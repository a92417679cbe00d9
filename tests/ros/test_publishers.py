"""Promise: a second publisher of a topic is told from one that was started again, and what it sends is looked at."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mqe_core.robot.geometry import euler_to_rotation
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_ros import convert
from mqe_ros.input_checks import ArmPose, SameCamera
from mqe_ros.publishers import OnePublisher, PublisherWatch

SPEC = load_robot_spec()
NEUTRAL = forward_kinematics(SPEC, SPEC.neutral_rad)
CAMERA, AGAIN, OTHER, UNKNOWN = (b"1", "/camera"), (b"2", "/camera"), (b"3", "/other"), (b"4", "/_NODE_NAME_UNKNOWN_")


def test_another_nodes_publisher_counts_at_once() -> None:
    watch = PublisherWatch()
    assert watch.judge([], 0.0) == []
    assert watch.judge([CAMERA], 0.0) == ["/camera"]
    assert watch.judge([CAMERA, OTHER], 0.1) == ["/camera", "/other"]
    assert watch.judge([OTHER], 0.2) == ["/other"]


@pytest.mark.parametrize("listed", [[CAMERA, AGAIN], [AGAIN, CAMERA]])
def test_a_node_that_is_started_again_is_no_second_one_for_as_long_as_the_dead_one_may_be_listed(listed: list) -> None:
    watch = PublisherWatch()
    watch.judge([CAMERA], 0.0)
    for now in (100.0, 105.0, 111.0):
        assert watch.judge(listed, now) == ["/camera"]
    assert watch.judge(listed, 113.0) == ["/camera", "/camera"]


def test_two_that_are_found_together_are_a_restart_for_as_long() -> None:
    watch = PublisherWatch()
    assert watch.judge([CAMERA, AGAIN], 100.0) == ["/camera"]
    assert watch.judge([CAMERA, AGAIN], 113.0) == ["/camera", "/camera"]


def test_publishers_of_one_name_that_take_turns_are_alive() -> None:
    watch = PublisherWatch()
    for k in range(3):
        watch.hear(1000 + k, 0.1 * k)
        watch.hear(1 + k, 0.1 * k)
    assert watch.judge([CAMERA, AGAIN], 0.3) == ["/camera", "/camera"]
    assert watch.judge([AGAIN], 0.4) == ["/camera"]  # the other one has gone
    assert watch.judge([CAMERA, AGAIN], 6.0) == ["/camera"]  # nothing of late


def test_a_restart_is_no_taking_turns_nor_is_a_middleware_that_tells_no_numbers() -> None:
    watch = PublisherWatch()
    for number in (1000, 1001, 1, 2, 3, 1, 2):  # twice
        watch.hear(number, 0.0)
    assert watch.judge([CAMERA, AGAIN], 0.1) == ["/camera"]
    for _ in range(5):
        watch.hear(None, 0.1)
        watch.hear(2**64 - 1, 0.1)
    assert watch.judge([CAMERA, AGAIN], 0.2) == ["/camera"]


def test_a_publisher_without_a_name_counts_once_it_cannot_be_getting_one() -> None:
    watch = PublisherWatch()
    assert watch.judge([CAMERA, UNKNOWN], 0.0) == ["/camera"]
    assert watch.judge([CAMERA, UNKNOWN], 13.0) == [UNKNOWN[1], "/camera"]


def test_the_nodes_are_named_with_what_to_do(ros: None) -> None:
    import rclpy

    nodes = [rclpy.create_node(name, namespace=space) for name, space in (("one", ""), ("two", "lab"), ("reader", ""))]
    try:
        now = [0.0]
        owner = OnePublisher(nodes[-1], "/shared", clock=lambda: now[0])
        assert owner.problem() == ""
        for node in nodes[:2]:
            node.create_publisher(Header, "/shared", 1)
        while len(owner.publishers) < 2:
            now[0] += 1.0
            problem = owner.problem()
        assert problem == (
            "2 publishers of /shared: /lab/two, /one; stop all but one (one that was killed is listed for 10 s)"
        )
    finally:
        for node in nodes:
            node.destroy_node()


def picture(width: int, height: int, encoding: str = "rgb8", frame: str = "camera") -> tuple[Image, np.ndarray]:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    message = convert.array_to_image(pixels, Time(), frame)
    message.encoding = encoding
    return message, pixels


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (picture(8, 6), "wrong_shape: /image has changed from 64x48 to 8x6 pixels; set it back, or start the camera's"),
        (picture(64, 48, encoding="bgr8"), "from encoding 'rgb8', frame 'camera' to encoding 'bgr8', frame 'camera'"),
        (picture(64, 48, frame="wrist"), "to encoding 'rgb8', frame 'wrist'; set it back"),
    ],
    ids=["size", "encoding", "frame"],
)
def test_a_camera_does_not_change_its_pictures_until_it_is_started_again(
    changed: tuple[Image, np.ndarray], said: str
) -> None:
    camera, old, new = SameCamera("/image"), frozenset({b"1"}), frozenset({b"1", b"2"})
    camera.check(*picture(64, 48), old)
    with pytest.raises(ValueError, match=said):
        camera.check(*changed, old)
    camera.check(*picture(64, 48), old)
    camera.check(*changed, new)
    with pytest.raises(ValueError, match="has changed"):
        camera.check(*picture(64, 48), frozenset({b"2"}))  # the old one is no longer listed: no new camera


def test_a_compressed_picture_has_the_size_that_it_decodes_to() -> None:
    camera, compressed = SameCamera("/image"), CompressedImage(format="jpeg")
    camera.check(compressed, np.zeros((48, 64, 3), np.uint8), frozenset())
    with pytest.raises(ValueError, match="from 64x48 to 8x8"):
        camera.check(compressed, np.zeros((8, 8, 3), np.uint8), frozenset())


def moved(x: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    pose = NEUTRAL.copy()
    pose[0, 3] += x
    pose[:3, :3] = euler_to_rotation(np.array([0.0, 0.0, yaw])) @ pose[:3, :3]
    return pose


@pytest.mark.parametrize(
    ("pose", "frame", "said"),
    [
        (NEUTRAL, "map", "/pose is in the frame 'map', and the arm's base frame is 'wx250s/base_link'"),
        (NEUTRAL, "\n" * 5000, "is in the frame"),
        (moved(x=5.0), SPEC.base_frame, r"/pose is 5\.\d+ m from the arm's base, and the arm reaches 0\.78 m"),
        (moved(x=np.nan), SPEC.base_frame, "is nan m from"),
        (moved(x=0.3), SPEC.base_frame, r"has jumped by 0\.30 m in 0\.20 s"),
        (moved(yaw=3.0), SPEC.base_frame, r"has jumped by 3\.00 rad in 0\.20 s"),
    ],
    ids=["frame", "long frame", "out of reach", "nan", "jump", "turn"],
)
def test_a_pose_that_the_arm_cannot_have_is_refused(pose: np.ndarray, frame: str, said: str) -> None:
    arm = ArmPose(SPEC, "/pose")
    arm.check(NEUTRAL, SPEC.base_frame, 10.0)
    with pytest.raises(ValueError, match=said) as refused:
        arm.check(pose, frame, 10.2)
    assert len(str(refused.value)) < 400
    arm.check(NEUTRAL, SPEC.base_frame, 10.4)


def test_what_the_arm_can_do_passes() -> None:
    """Full steps in every axis, each measured late; and, after a while, wherever a hand has put it."""
    arm, step = ArmPose(SPEC, "/pose"), SPEC.control.max_translation_step_m
    pose = NEUTRAL.copy()
    pose[:3, 3] = (0.1, -0.15, 0.1)
    arm.check(pose, SPEC.base_frame, 10.0)
    for k in range(1, 4):
        pose = pose.copy()
        pose[:3, 3] += step
        arm.check(pose, SPEC.base_frame, 10.0 + 0.1 * k)
    arm.check(moved(x=0.25, yaw=2.0), SPEC.base_frame, 12.0)


@pytest.mark.parametrize("seed", range(3))
def test_every_pose_of_the_joints_is_within_reach(seed: int) -> None:
    random = np.random.default_rng(seed)
    low, high = (np.array([getattr(joint, end) for joint in SPEC.joints]) for end in ("lower_rad", "upper_rad"))
    for joints in (np.zeros(6), SPEC.sleep_rad, *random.uniform(low, high, (200, 6))):
        ArmPose(SPEC, "/pose").check(forward_kinematics(SPEC, np.asarray(joints)), SPEC.base_frame, 0.0)
