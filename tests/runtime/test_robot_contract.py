"""One contract for every robot behind the safety filter (robot_contract.py), for those that need no ROS: the mock, the
sim in this process and in another one, and an arm behind bridge_data_robot's server. The hardware's is in
tests/ros/interbotix/test_hardware_contract.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.backends import make_camera, make_robot, make_scene
from mqe_core.runtime.bridge.bridge_robot import BridgeServerCamera, BridgeServerRobot
from mqe_core.runtime.bridge.bridge_server import BridgeServer
from mqe_core.runtime.robot import Camera, Clock, MonotonicClock
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import Scene
from tests.runtime.bridge.fake_bridge_server import FakeBridgeServer
from tests.runtime.robot_contract import Rig, RobotContract


@pytest.fixture(scope="module")
def served_scene(spec: RobotSpec) -> Iterator[Scene]:
    """The sim in its own process, on the wall clock."""
    pytest.importorskip("pybullet")
    scene = make_scene("sim", spec, "place1", 0, realtime=True)
    yield scene
    scene.close()


@pytest.fixture
def bridge_server(spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> Iterator[BridgeServer]:
    """A connection to a server whose arm follows its target in real time."""
    monkeypatch.setattr("mqe_core.runtime.bridge.bridge_server._REST_S", 0.02)  # the fake is at its start pose at once
    fake = FakeBridgeServer(follows=True)
    server = BridgeServer("127.0.0.1", fake.port, clock=MonotonicClock())
    server.initialise(spec)
    yield server
    server.close()
    fake.close()


@pytest.fixture(params=["mock", "sim", "sim server", "bridge server"])
def rig(request: pytest.FixtureRequest, spec: RobotSpec, clock: Clock) -> Iterator[Rig]:
    if request.param == "sim server":
        scene = request.getfixturevalue("served_scene")
        scene._client.reset("place1", 0)
        rig, then = Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec), scene.clock.now()
        rig.until(lambda state: state.stamp >= then, 2.0)  # one of the scene before may still be under way
        yield rig
    elif request.param == "bridge server":
        wall = MonotonicClock()
        server = request.getfixturevalue("bridge_server")
        yield Rig(SafeRobot(BridgeServerRobot(spec, server=server), spec, wall), wall, spec)
    elif request.param == "mock":
        robot = make_robot("mock", spec, clock=clock)
        yield Rig(robot, clock, spec)
        robot.close()
    else:
        pytest.importorskip("pybullet")
        scene = make_scene("sim", spec, "place1", 0)
        yield Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec)
        scene.close()


class TestContract(RobotContract):
    """Over each `rig` of this module."""


def test_the_same_commands_give_the_same_motion(spec: RobotSpec) -> None:
    pytest.importorskip("pybullet")

    def motion() -> list[np.ndarray]:
        scene = make_scene("sim", spec, "place1", 5)
        rig = Rig(SafeRobot(scene.robot, spec, scene.clock), scene.clock, spec)
        poses = []
        for k in range(8):
            rig.send((0.02 * np.cos(k), 0.02 * np.sin(k), -0.01), gripper=float(k % 2))
            poses.append(rig.robot.observe().joints)
        scene.close()
        return poses

    np.testing.assert_array_equal(motion(), motion())


def test_make_robot_always_wraps_and_names_what_is_installed(spec: RobotSpec, clock: Clock) -> None:
    assert isinstance(make_robot("mock", spec, clock=clock), SafeRobot)
    with pytest.raises(ValueError, match="installed: .*mock"):
        make_robot("moc", spec, clock=clock)
    with pytest.raises(ValueError, match="'mock' of mqe.robots cannot be made with these options: .*'address'"):
        make_robot("mock", spec, clock=clock, address="ipc:///somewhere")


@pytest.fixture(params=["mock", "sim", "bridge server"])
def camera(
    request: pytest.FixtureRequest, spec: RobotSpec, clock: Clock, synthetic_store
) -> Iterator[tuple[Camera, Clock, str]]:
    """A camera, its clock, and what it shows."""
    if request.param == "mock":
        yield make_camera("mock", spec, clock=clock, episodes=synthetic_store, domain="sim"), clock, "sim"
    elif request.param == "bridge server":
        yield BridgeServerCamera(request.getfixturevalue("bridge_server")), MonotonicClock(), "real"
    else:
        pytest.importorskip("pybullet")
        scene = make_scene("sim", spec, "place1", 0)
        yield scene.camera, scene.clock, "sim"
        scene.close()


def test_frames_are_rgb_stamped_and_say_what_they_show(camera: tuple[Camera, Clock, str]) -> None:
    camera, clock, domain = camera
    for _ in range(3):
        clock.sleep_until(clock.now() + 0.2)
        frame = camera.read()
        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3 and frame.image.shape[2] == 3
        assert frame.domain == domain and 0.0 <= clock.now() - frame.stamp <= 0.2 + 1e-6
        assert frame.image.std() > 1.0  # a picture, not a blank
    assert isinstance(camera, Camera)
