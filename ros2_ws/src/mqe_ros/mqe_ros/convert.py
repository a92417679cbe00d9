"""Messages to and from the plain types of mqe_core. What cannot be read raises ValueError."""

from __future__ import annotations

import array
import zlib
from typing import NamedTuple

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Header

from mqe_core import images
from mqe_core.robot.episode_marks import EpisodeBook
from mqe_core.robot.geometry import make_pose, quaternion_to_rotation, rotation_to_quaternion
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.arm_side import ArmSide
from mqe_core.runtime.robot import Command, RobotState
from mqe_interfaces.msg import ArmStatus, EndEffectorCommand, EpisodeStatus
from mqe_ros.remedies import with_remedy


class Observation(NamedTuple):
    """Which image a command was computed from: the camera's own stamp, which may be anything, and its bytes' CRC-32."""

    stamp: Time
    crc32: int


NO_OBSERVATION = Observation(Time(), 0)  # an operator's: he looks for himself
_LAST_NS = 2**31 * 10**9 - 1  # that a stamp can hold


def image_to_array(message: Image) -> np.ndarray:
    """Image → (H, W, 3) uint8 RGB, contiguous."""
    images.require_few_pixels(message.width, message.height, images.FRAME_PIXELS)
    return images.unpack(message.height, message.width, message.encoding, message.step, message.data)


def compressed_to_array(message: CompressedImage) -> np.ndarray:
    """CompressedImage (JPEG or PNG) → (H, W, 3) uint8 RGB."""
    if len(message.data) > images.FRAME_BYTES:
        raise ValueError(f"a compressed image of {len(message.data)} bytes, at most {images.FRAME_BYTES} are read")
    return images.decode(bytes(message.data), images.FRAME_PIXELS)


def observation(message: Image | CompressedImage) -> Observation:
    """What identifies that image. The CRC of 640x480 pixels takes a third of a millisecond, so it is worked out for
    images that a command comes of only.
    """
    return Observation(message.header.stamp, zlib.crc32(message.data))


def array_to_image(image: np.ndarray, stamp: Time, frame_id: str) -> Image:
    """(H, W, 3) uint8 RGB → Image rgb8."""
    # An array.array passes into the message without the per-element check that bytes and ndarrays get (tens
    # of milliseconds).
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    height, width = int(image.shape[0]), int(image.shape[1])
    return Image(
        header=Header(stamp=stamp, frame_id=frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=data,
    )


def pose_to_matrix(pose: Pose) -> np.ndarray:
    """Pose → (4, 4). ValueError where the quaternion is no rotation; NaN passes, for the safety filter."""
    q = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
    norm = float(np.linalg.norm(q))
    if abs(norm - 1.0) > 1e-2:
        raise ValueError(f"quaternion of length {norm:.4g}; expected 1")
    return make_pose(quaternion_to_rotation(q / norm), np.array([pose.position.x, pose.position.y, pose.position.z]))


def matrix_to_pose(matrix: np.ndarray) -> Pose:
    """(4, 4) → Pose, quaternion with w ≥ 0."""
    x, y, z, w = rotation_to_quaternion(matrix[:3, :3]).tolist()
    px, py, pz = matrix[:3, 3].tolist()
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def stamped_pose(matrix: np.ndarray, stamp: Time, frame_id: str) -> PoseStamped:
    return PoseStamped(header=Header(stamp=stamp, frame_id=frame_id), pose=matrix_to_pose(matrix))


def joint_state(state: RobotState, spec: RobotSpec, stamp: Time) -> JointState:
    """Measured joints and the two fingers, which mirror each other (m)."""
    finger = spec.gripper.finger_position_m(state.gripper)
    return JointState(
        header=Header(stamp=stamp),
        name=[*spec.joint_names, "left_finger", "right_finger"],
        position=[*state.joints.tolist(), float(finger), float(-finger)],
    )


def command_to_message(
    command: Command, action: np.ndarray, steps_to_goal: float | None, stamp: Time, observation: Observation
) -> EndEffectorCommand:
    return EndEffectorCommand(
        header=Header(stamp=stamp, frame_id=command.frame_id),
        observation_stamp=observation.stamp,
        image_crc32=observation.crc32,
        session=command.session,
        sequence=command.sequence,
        target=matrix_to_pose(command.pose),
        gripper=float(command.gripper),
        action=[float(value) for value in action],
        steps_to_goal=number(steps_to_goal),
    )


def arm_status(side: ArmSide, newest: Command | None, target_gripper: float, dry_run: bool, stamp: Time) -> ArmStatus:
    """What the arm's side is doing.

    Args:
        newest: what became of the newest command; None before the first.
        target_gripper: that was sent last, NaN where that is not known yet.
    """
    return ArmStatus(
        header=Header(stamp=stamp, frame_id=side.robot.spec.base_frame),
        state=side.state,
        reason=with_remedy(side.reason),
        clipped=list(newest.clipped) if newest else [],
        refused=(newest.refused or "") if newest else "",
        session=newest.session if newest else "",
        sequence=newest.sequence if newest else 0,
        dry_run=dry_run,
        commander=side.commander,
        target_gripper=target_gripper,
    )


def episode_status(book: EpisodeBook, mark: str, stamp: Time) -> EpisodeStatus:
    """The episodes of a recording after the newest mark, which is empty where there was none."""
    newest = book.newest
    return EpisodeStatus(
        header=Header(stamp=stamp),
        mark=mark,
        number=newest.number if newest else 0,
        open=book.is_open,
        label=newest.label if newest else "",
        kept=book.kept,
        discarded=book.discarded,
    )


def message_to_command(message: EndEffectorCommand, received: float) -> Command:
    """`received` is the arm's side's monotonic time of receipt: the sender's stamps are not its clock's.

    A quaternion that is no rotation becomes a matrix that is none, for the safety filter to refuse.
    """
    try:
        pose = pose_to_matrix(message.target)
    except ValueError:
        pose = np.zeros((4, 4))
    return Command(
        pose=pose,
        gripper=message.gripper,
        stamp=received,
        session=message.session,
        sequence=message.sequence,
        frame_id=message.header.frame_id,
    )


def stamp(nanoseconds: int) -> Time:
    """A moment of the ROS clock as a stamp. On simulated time somebody else sets that clock, and a stamp holds only
    seconds from 0 to 2^31.
    """
    seconds, rest = divmod(min(max(nanoseconds, 0), _LAST_NS), 10**9)
    return Time(sec=seconds, nanosec=rest)


def seconds_between(earlier: Time, later: Time) -> float:
    """Seconds from one stamp to another, whatever they hold: stamps of others are only measured, for the record."""
    return 1e-9 * ((later.sec - earlier.sec) * 10**9 + later.nanosec - earlier.nanosec)


def number(value: float | None) -> float:
    """What a message's field says where there is no value: NaN."""
    return float("nan") if value is None else float(value)
