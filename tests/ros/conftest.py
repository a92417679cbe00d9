"""What the tests of the ROS nodes share: the built workspace, and the fixtures."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mqe_core.images import encode_png
from mqe_core.spec import load_robot_spec

sys.path.insert(0, str(Path(__file__).parent))  # for ros_helpers and ros_workspace
from ros_helpers import Client, write_constant_policy
from ros_workspace import enter

DRIVERS = {"usb_cam": "usb_cam_node_exe", "realsense2_camera": "realsense2_camera_node"}
INSTALL = Path(__file__).parents[2] / "ros2_ws" / "install"


if (INSTALL / "setup.bash").is_file():
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = (
        "1"  # a wrong type in a message is an error here, not a surprise at the other end
    )
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    if importlib.util.find_spec("mqe_ros") is None:
        enter(INSTALL)
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(
        INSTALL / "mqe_bringup" / "share" / "mqe_bringup" / "config" / "fastdds.xml"
    )


@pytest.fixture(scope="session")
def constant_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "constant.onnx"
    write_constant_policy(path)
    return path


@pytest.fixture(scope="session")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with one simulated goal, `corner.png`, in force for this process and its children."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "goals").mkdir()
    image = np.zeros((24, 32, 3), dtype=np.uint8)
    image[:8, :8] = (200, 30, 30)
    (folder / "goals" / "corner.png").write_bytes(encode_png(image))
    (folder / "goals" / "corner.yaml").write_text(
        "camera: over_shoulder\nresize_rule: squash-lanczos\ndomain: sim\n"
        "capture_pose: [0.2, 0, 0.2, 0, 0, 0, 1]\ntask: place1\nseed: 4\n"
    )
    before = os.environ.get("MQE_HOME")
    os.environ["MQE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["MQE_HOME"]
    else:
        os.environ["MQE_HOME"] = before


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ament prefix with both fakes, in force for this process and its children."""
    prefix = tmp_path / "prefix"
    fake = f"#!{sys.executable}\n" + Path(__file__).with_name("fake_camera_driver.py").read_text()
    for package, executable in DRIVERS.items():
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / package
        program = prefix / "lib" / package / executable
        for path, text in ((marker, ""), (program, fake)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{prefix}:{os.environ['AMENT_PREFIX_PATH']}")
    return prefix


@pytest.fixture
def video_device(tmp_path: Path) -> Path:
    """What stands for /dev/video2."""
    path = tmp_path / "video2"
    path.touch()
    return path


@pytest.fixture(scope="session")
def real_arguments(make_bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Arguments with a policy and a goal of real images."""
    goal = tmp_path_factory.mktemp("goal") / "cup.png"
    goal.write_bytes(encode_png(np.random.default_rng(0).integers(60, 120, (24, 32, 3), dtype=np.uint8)))
    goal.with_suffix(".yaml").write_text(
        f"camera: {load_robot_spec().camera.name}\nresize_rule: squash-lanczos\ndomain: real\ncapture_pose: [0.2, 0, 0.2, 0, 0, 0, 1]\n"
    )
    return {
        "backend": "mock",
        "policy": str(make_bundle(domain="real", action=(0.002, 0, 0, 0, 0, 0, 1))),
        "goal": str(goal),
    }


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    """rclpy in this process."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    yield
    rclpy.try_shutdown()


@pytest.fixture
def client(ros: None) -> Iterator[Client]:
    client = Client()
    yield client
    client.close()
