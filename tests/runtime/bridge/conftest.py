"""What the tests of bridge_data_robot's server share: a fake of it, a connection, and the arm behind both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from mqe_core.robot.geometry import euler_to_rotation
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.bridge import bridge_server
from mqe_core.runtime.bridge.bridge_robot import BridgeServerRobot
from mqe_core.runtime.bridge.bridge_server import BridgeServer
from mqe_core.runtime.robot import Command, MonotonicClock
from mqe_core.runtime.safety.safe_robot import SafeRobot
from tests.runtime.bridge.fake_bridge_server import FakeBridgeServer


@pytest.fixture
def fake() -> Iterator[FakeBridgeServer]:
    fake = FakeBridgeServer()
    yield fake
    fake.close()


@pytest.fixture
def connect(spec: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[FakeBridgeServer], BridgeServer]]:
    monkeypatch.setattr(bridge_server, "_REST_S", 0.02)  # the fake is at its start pose at once
    links: list[BridgeServer] = []

    def start(fake: FakeBridgeServer) -> BridgeServer:
        links.append(BridgeServer("127.0.0.1", fake.port, clock=MonotonicClock()))
        links[-1].initialise(spec)
        return links[-1]

    yield start
    for link in links:
        link.close()


@pytest.fixture
def robot(fake: FakeBridgeServer, connect, spec: RobotSpec) -> SafeRobot:
    clock = MonotonicClock()
    sudden = replace(
        spec, control=replace(spec.control, max_joint_acceleration_rad_per_s2=1e3)
    )  # large turns there and back
    return SafeRobot(BridgeServerRobot(spec, server=connect(fake)), sudden, clock)


@pytest.fixture
def step(robot: SafeRobot, spec: RobotSpec) -> Callable[..., Command]:
    sequence = iter(range(1, 1000))

    def send(move=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0), gripper: float = 1.0) -> Command:
        time.sleep(0.11)
        pose = robot.observe().target_pose
        pose[:3, 3] += move
        pose[:3, :3] = euler_to_rotation(np.array(turn)) @ pose[:3, :3]
        return robot.send(Command(pose, gripper, time.monotonic(), "test", next(sequence), spec.base_frame))

    return send
