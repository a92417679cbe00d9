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

sys.path.insert(0, str(Path(__file__).parent))  # for ros_helpers and ros_workspace
from ros_helpers import Client, write_constant_policy
from ros_workspace import enter

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
