"""Promise: the launch file starts the same graph under the real `ros2 launch`, and stops it cleanly."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")
if importlib.util.find_spec("launch_ros") is None:
    pytest.skip("launch_ros is not on the package index; it comes with a ROS installation", allow_module_level=True)

from ament_index_python.packages import get_package_share_directory

from tests.ros.ros_helpers import PATIENCE_S, Client

# What `ros2 launch` does, without needing its command line.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService()
source = PythonLaunchDescriptionSource(path)
included = IncludeLaunchDescription(source, launch_arguments=[a.split(":=", 1) for a in arguments])
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


def launch(*arguments: str) -> subprocess.Popen:
    path = Path(get_package_share_directory("mqe_bringup")) / "launch" / "widowx.launch.py"
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_graph_runs_and_ends_on_ctrl_c(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, client: Client
) -> None:
    launched = launch("backend:=mock", f"policy:={constant_policy}", f"camera:={synthetic_store}", "goal:=corner")
    try:
        client.wait(lambda: launched.poll() is not None or client.heard["/policy/command"], "the first command")
    finally:
        launched.send_signal(signal.SIGINT)
        said, _ = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode == 0, said
    assert "backend: mock" in said
    assert said.count("process has finished cleanly") == 3, said


def test_a_second_graph_in_the_same_domain_is_refused_before_it_speaks(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, client: Client
) -> None:
    arguments = ("backend:=mock", f"policy:={constant_policy}", f"camera:={synthetic_store}")
    first = launch(*arguments)
    try:
        client.wait(lambda: first.poll() is not None or client.heard["/arm/status"], "the first graph")
        second = launch(*arguments)
        said = second.communicate(timeout=PATIENCE_S)[0]
        assert second.returncode == 1 and "another arm_node runs in ROS domain" in said and "camera_node" not in said
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=PATIENCE_S)[0]
    assert first.returncode == 0, said


def test_another_packages_driver_gets_its_parameters_and_names(
    real_arguments: dict[str, str], drivers: Path, video_device: Path, client: Client
) -> None:
    arguments = {**real_arguments, "camera": f"usb_cam:{video_device}"}
    launched = launch(*(f"{name}:={value}" for name, value in arguments.items()))
    try:
        client.wait(lambda: launched.poll() is not None or client.heard["/policy/command"], "the first command")
    finally:
        launched.send_signal(signal.SIGINT)
        said, _ = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode == 0, said
    assert said.count("process has finished cleanly") == 3, said


def test_a_pad_s_driver_moves_the_arm(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, pad_driver: Path, client: Client
) -> None:
    arguments = ("backend:=mock", f"policy:={constant_policy}", f"camera:={synthetic_store}", "teleop:=joy")
    launched = launch(*arguments)
    try:
        client.wait(
            lambda: launched.poll() is not None or any(m.commander == "operator" for m in client.heard["/arm/status"]),
            "the arm in the operator's hands",
        )
        assert client.heard["/operator/command"] and not client.heard["/policy/command"]
    finally:
        launched.send_signal(signal.SIGINT)
        said, _ = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode == 0, said
    assert "teleop: any pad that SDL knows" in said and "hold button 10, and the arm is yours" in said
    assert said.count("process has finished cleanly") == 5, said


def test_what_is_missing_stops_the_launch_with_the_remedy(constant_policy: Path) -> None:
    launched = launch("backend:=hardware", f"policy:={constant_policy}")
    said, _ = launched.communicate(timeout=PATIENCE_S)
    assert launched.returncode == 1 and "backend hardware cannot start" in said
