"""Promise: messages carry poses, images and commands without loss, and what cannot be read is refused with
the reason.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Quaternion
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from mqe_core.images import encode_jpeg, encode_png
from mqe_core.robot.geometry import euler_to_rotation, make_pose
from mqe_core.runtime.robot import Command
from mqe_ros import convert

angles = st.floats(-np.pi, np.pi)


@settings(max_examples=200, deadline=None)
@given(angles, angles, angles)
def test_a_pose_survives_the_quaternion(roll: float, pitch: float, yaw: float) -> None:
    matrix = make_pose(euler_to_rotation(np.array([roll, pitch, yaw])), np.array([0.1, -0.2, 0.3]))
    pose = convert.matrix_to_pose(matrix)
    np.testing.assert_allclose(convert.pose_to_matrix(pose), matrix, atol=1e-12)
    assert pose.orientation.w >= 0


def test_a_half_turn_survives_the_quaternion() -> None:
    for axis in range(3):
        rotation = -np.eye(3)
        rotation[axis, axis] = 1.0
        matrix = make_pose(rotation, np.zeros(3))
        np.testing.assert_allclose(convert.pose_to_matrix(convert.matrix_to_pose(matrix)), matrix, atol=1e-12)


def test_a_quaternion_that_is_no_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1"):
        convert.pose_to_matrix(Pose(orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.5)))


def test_a_nan_pose_reaches_the_safety_filter_as_nan() -> None:
    pose = Pose(orientation=Quaternion(x=float("nan"), y=0.0, z=0.0, w=1.0))
    assert np.isnan(convert.pose_to_matrix(pose)).any()


def test_an_image_survives() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    message = convert.array_to_image(image, Time(), "camera")
    assert (message.encoding, message.height, message.width, message.step) == ("rgb8", 5, 7, 21)
    np.testing.assert_array_equal(convert.image_to_array(message), image)


def test_other_encodings_and_padded_rows_are_read_as_rgb() -> None:
    image = np.random.default_rng(1).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    alpha = np.full((3, 4, 1), 9, np.uint8)
    for encoding, pixels in {
        "bgr8": image[:, :, ::-1],
        "bgra8": np.concatenate([image[:, :, ::-1], alpha], 2),
    }.items():
        rows = np.pad(pixels.reshape(3, -1), ((0, 0), (0, 5)))
        message = Image(height=3, width=4, encoding=encoding, step=rows.shape[1], data=rows.tobytes())
        np.testing.assert_array_equal(convert.image_to_array(message), image)


@pytest.mark.parametrize(
    "message",
    [
        Image(height=2, width=2, encoding="mono16", step=4, data=bytes(8)),
        Image(height=2, width=2, encoding="rgb8", step=6, data=bytes(11)),
        Image(height=2, width=2, encoding="rgb8", step=5, data=bytes(10)),
        Image(height=0, width=0, encoding="rgb8", step=0),
    ],
    ids=["encoding", "bytes", "step", "empty"],
)
def test_an_image_that_does_not_fit_its_header_is_refused(message: Image) -> None:
    with pytest.raises(ValueError, match="image"):
        convert.image_to_array(message)


def test_a_compressed_image_is_decoded() -> None:
    image = np.random.default_rng(2).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        convert.compressed_to_array(CompressedImage(format="png", data=encode_png(image))), image
    )


def test_a_command_survives_but_for_its_stamp_which_is_the_receivers() -> None:
    pose = make_pose(euler_to_rotation(np.array([0.1, 0.2, 0.3])), np.array([0.3, 0.0, 0.1]))
    command = Command(pose=pose, gripper=0.25, stamp=1.0, session="a", sequence=7, frame_id="base")
    observation = convert.Observation(Time(sec=1), 2**32 - 1)
    message = convert.command_to_message(command, np.arange(7, dtype=np.float32), None, Time(sec=2), observation)
    assert (message.observation_stamp, message.image_crc32) == (Time(sec=1), 2**32 - 1)
    assert message.action.tolist() == list(range(7)) and np.isnan(message.steps_to_goal)
    received = convert.message_to_command(message, 99.0)
    np.testing.assert_allclose(received.pose, pose, atol=1e-12)
    assert (received.gripper, received.stamp, received.session, received.sequence, received.frame_id) == (
        0.25,
        99.0,
        "a",
        7,
        "base",
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_png(np.zeros((3000, 3000, 3), np.uint8)), "3000x3000 pixels; at most 4000000"),
        (encode_jpeg(np.zeros((48, 64, 3), np.uint8)) + b"\xff\xda" * 30, "more than 20 scans"),
        (encode_png(np.zeros((48, 64, 3), np.uint8))[:33] + b"\0\0\0\0abCd\0\0\0\0" * 9000, "more than 4096 parts"),
        (b"\xff\xd8" + b"\xff\xef\0\2" * 9000, "more than 4096 parts"),
        (b"\xff\xd8" + b"\xff" * 9000, "more than 4096 parts"),
        (bytes(17_000_000), "17000000 bytes, at most"),
        (b"", "not a readable"),
    ],
    ids=["pixels", "scans", "chunks", "segments", "filling", "bytes", "empty"],
)
def test_a_compressed_image_that_is_much_work_is_refused_before_it_is_decoded(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        convert.compressed_to_array(CompressedImage(data=data))
