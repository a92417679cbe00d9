"""Promise: camera:=usb_cam and camera:=realsense start the existing driver, asked for what the robot file's camera is;
its images reach policy and recorder, also where it offers best effort only; a driver that is missing stops the start
with the remedy.

The drivers are fakes, found by ament as the real ones would be.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from ament_index_python.packages import get_package_prefix

from mqe_bringup.graph import build_graph
from mqe_bringup.process import Process, node
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import MonotonicClock
from mqe_ros import convert, topics
from tests.ros.ros_helpers import PATIENCE_S, Client

CAMERA = load_robot_spec().camera


def camera_process(arguments: dict[str, str]) -> Process:
    return next(process for process in build_graph(arguments).processes if process.name == "camera_node")


def test_usb_cam_is_asked_for_the_robot_files_camera_as_rgb(
    real_arguments: dict[str, str], drivers: Path, video_device: Path
) -> None:
    process = camera_process({**real_arguments, "camera": f"usb_cam:{video_device}"})
    assert (process.package, process.executable, process.module) == ("usb_cam", "usb_cam_node_exe", None)
    asked = {"video_device": str(video_device), "image_width": CAMERA.width_px, "image_height": CAMERA.height_px}
    assert asked.items() <= process.parameters.items()
    assert process.parameters["pixel_format"] == "yuyv2rgb" and isinstance(process.parameters["framerate"], float)
    assert process.remappings["image_raw"] == topics.IMAGE.name
    assert process.remappings["image_raw/compressed"] == topics.COMPRESSED_IMAGE.name
    assert process.command[0] == str(drivers / "lib" / "usb_cam" / "usb_cam_node_exe")
    assert "image_raw:=/camera/image_raw" in process.command


def test_realsense_gives_colour_only_and_the_first_found_without_a_serial(
    real_arguments: dict[str, str], drivers: Path
) -> None:
    first = camera_process({**real_arguments, "camera": "realsense"}).parameters
    assert "serial_no" not in first
    assert first["rgb_camera.color_profile"] == f"{CAMERA.width_px}x{CAMERA.height_px}x30"
    assert [name for name, value in first.items() if name.startswith("enable_") and value] == ["enable_color"]
    assert camera_process({**real_arguments, "camera": "realsense:0123"}).parameters["serial_no"] == "0123"


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("usb_cam", "usb_cam is not installed: sudo apt install ros-humble-usb-cam .*camera:=/dev/video0 .*OpenCV"),
        ("realsense:1", "realsense2_camera is not installed: sudo apt install ros-humble-realsense2-camera"),
    ],
)
def test_a_driver_that_is_not_installed_is_refused_with_the_remedy(
    real_arguments: dict[str, str], camera: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AMENT_PREFIX_PATH", get_package_prefix("mqe_bringup")
    )  # nothing else, whatever this machine has
    with pytest.raises(ValueError, match=said):
        build_graph({**real_arguments, "camera": camera})


def test_a_driver_without_its_executable_or_device_is_refused(real_arguments: dict[str, str], drivers: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no device /dev/video97.*camera:=usb_cam:DEVICE"):
        build_graph({**real_arguments, "camera": "usb_cam:97"})
    (drivers / "lib" / "usb_cam" / "usb_cam_node_exe").unlink()
    with pytest.raises(ValueError, match="without the executable .*usb_cam_node_exe"):
        build_graph({**real_arguments, "camera": "usb_cam"})


def test_real_images_are_refused_by_a_policy_of_the_sim(
    drivers: Path, constant_policy: Path, user_folder: Path
) -> None:
    with pytest.raises(ValueError, match="shows real images, but the policy"):
        build_graph({"backend": "mock", "policy": str(constant_policy), "goal": "corner", "camera": "realsense"})


def test_usb_cam_drives_the_graph_and_its_images_are_recorded(
    real_arguments: dict[str, str], drivers: Path, video_device: Path, client: Client, tmp_path: Path
) -> None:
    from rosbags.rosbag2 import Reader

    arguments = {**real_arguments, "camera": f"usb_cam:{video_device}", "record": str(tmp_path / "bag")}
    up = subprocess.Popen(
        [sys.executable, "-m", "mqe_core.cli", "up", *(f"{name}:={value}" for name, value in arguments.items())],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        client.wait(lambda: up.poll() is not None or len(client.heard["/policy/command"]) > 10, "ten commands")
    finally:
        up.send_signal(signal.SIGINT)
        said, _ = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 0 and f"device {video_device}, driver usb_cam" in said, said
    assert "Traceback" not in said
    with Reader(tmp_path / "bag") as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
    # The recorder may have been found later than the first commands were sent.
    assert counts[topics.IMAGE.name] > 10 and counts["/policy/command"] > 5 and counts["/arm/intended_path"] > 5, counts


def test_realsense_publishes_under_this_graphs_name(
    real_arguments: dict[str, str], drivers: Path, client: Client, tmp_path: Path
) -> None:
    graph = build_graph({**real_arguments, "camera": "realsense:0123"})
    heard = []
    client.node.create_subscription(topics.IMAGE.type, topics.IMAGE.name, heard.append, topics.NEWEST_BEST_EFFORT)
    supervisor = Supervisor(graph.environment, log_folder=tmp_path)
    supervisor.start([process for process in graph.processes if process.name == "camera_node"])
    try:
        client.wait(lambda: heard or supervisor.ended(), "an image of the driver")
    finally:
        codes = supervisor.stop()
    assert codes == {"camera_node": 0}, supervisor.log_tail("camera_node")
    assert convert.image_to_array(heard[-1]).shape == (CAMERA.height_px, CAMERA.width_px, 3)
    assert heard[-1].header.frame_id.startswith(CAMERA.name)


def test_a_recording_without_images_says_so(client: Client, tmp_path: Path) -> None:
    supervisor = Supervisor({}, log_folder=tmp_path)
    parameters = {"folder": str(tmp_path / "bag")}
    supervisor.start([node("record_node", parameters)])

    def said() -> bool:
        statuses = [status for message in client.heard["/diagnostics"] for status in message.status]
        return any(status.message.startswith("no image on /camera/image_raw") for status in statuses)

    try:
        client.wait(said, "the recorder's warning")
    finally:
        assert supervisor.stop() == {"record_node": 0}
    assert "no image on /camera/image_raw" in supervisor.log_tail("record_node")


@pytest.mark.parametrize("device", ["pipe", "folder", "/dev/zero", "99999999999999999999", "nowhere"])
def test_a_device_that_is_no_camera_is_refused_before_it_is_read(device: str, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    from mqe_ros.opencv_camera import OpenCvCamera

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = tmp_path / device
    with pytest.raises((ValueError, RuntimeError), match="is neither a video device nor a file|cannot be opened"):
        OpenCvCamera(load_robot_spec(), clock=MonotonicClock(), device=str(path) if path.exists() else device)
