"""What the tests of the ROS nodes share: the built workspace, and the fixtures."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mqe_core.images import encode_png
from mqe_core.robot.spec import load_robot_spec
from mqe_core.ros_domain import domain_of
from tests.ros.ros_helpers import Client, write_constant_policy
from tests.ros.ros_workspace import enter

if TYPE_CHECKING:
    from mqe_bringup.supervisor import Supervisor

DRIVERS = {"usb_cam": "usb_cam_node_exe", "realsense2_camera": "realsense2_camera_node"}
INSTALL = Path(__file__).parents[2] / "ros2_ws" / "install"


if (INSTALL / "setup.bash").is_file():
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = (
        "1"  # a wrong type in a message is an error here, not a surprise at the other end
    )
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(domain_of(os.getpid()))
    if importlib.util.find_spec("mqe_ros") is None:
        enter(INSTALL)
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(
        INSTALL / "mqe_ros" / "share" / "mqe_ros" / "config" / "fastdds.xml"
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
def pad_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ament prefix with a fake of joy's game_controller_node, in force for this process and its children."""
    prefix = tmp_path / "pad_prefix"
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "joy"
    program = prefix / "lib" / "joy" / "game_controller_node"
    for path, text in (
        (marker, ""),
        (program, f"#!{sys.executable}\n" + Path(__file__).with_name("fake_pad_driver.py").read_text()),
    ):
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
        f"camera: {load_robot_spec().camera.name}\nresize_rule: squash-lanczos\ndomain: real\ncapture_pose: [0.2, "
        "0, 0.2, 0, 0, 0, 1]\n"
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


@pytest.fixture(scope="module")
def running(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supervisor]:
    """The mock graph, without a goal; it ends cleanly."""
    from mqe_bringup.graph import build_graph
    from mqe_bringup.supervisor import Supervisor

    graph = build_graph({"backend": "mock", "policy": str(constant_policy), "camera": str(synthetic_store)})
    supervisor = Supervisor(graph.environment, log_folder=tmp_path_factory.mktemp("logs"))
    supervisor.start(graph.processes)
    yield supervisor
    codes = supervisor.stop()
    assert codes == {"arm_node": 0, "camera_node": 0, "policy_node": 0}, {
        name: supervisor.log_tail(name) for name in codes
    }


@pytest.fixture
def arm(running: Supervisor, client: Client) -> Client:
    """A client that hears every node; the arm takes commands."""
    for name in ("/arm/status", "/arm/ee_target", "/policy/status", "/camera/image_raw"):
        client.wait(lambda name=name: running.ended() or client.newest(name), f"the first message on {name}")
    assert running.ended() is None
    client.call("/arm/resume")
    return client


@pytest.fixture
def homed(arm: Client) -> Client:
    """… and has moved to the neutral joints' pose."""
    from mqe_interfaces.msg import ArmStatus

    arm.heard["/arm/status"].clear()
    assert arm.call("/arm/home").success
    # A short way may be over before this process gets a core.
    arm.wait(lambda: any(status.reason == "homing" for status in arm.heard["/arm/status"]), "homing")
    arm.wait(lambda: arm.newest("/arm/status").state == ArmStatus.READY, "the end of homing")
    return arm


@pytest.fixture
def start_arm(client: Client, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], int]]:
    """Starts a mock arm with these environment variables, and waits until it is heard; its process id."""
    from mqe_bringup.process import node
    from mqe_bringup.supervisor import Supervisor

    supervisors = []

    def start(environment: dict[str, str]) -> int:
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            supervisors.append(Supervisor({}, log_folder=tmp_path))
            supervisors[-1].start([node("arm_node", {"backend": "mock"})])
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        client.wait(lambda: supervisors[-1].ended() or client.newest("/arm/status"), "the arm")
        return supervisors[-1].pids["arm_node"]

    yield start
    for supervisor in supervisors:
        os.kill(supervisor.pids["arm_node"], signal.SIGCONT)
        assert supervisor.stop() == {"arm_node": 0}, supervisor.log_tail("arm_node")
