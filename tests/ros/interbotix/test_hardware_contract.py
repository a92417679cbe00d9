"""Promise: the hardware backend keeps the contract that every robot keeps (tests/runtime/robot_contract.py).

On one fake driver for the module (fake_xs_sdk.py, its motors arithmetic).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mqe_ros", reason="the ROS workspace is not built: make setup")
pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")

from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import Command, MonotonicClock
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_ros.widowx_robot import WidowXRobot
from tests.ros.interbotix_driver import FakeDriver
from tests.runtime.robot_contract import Rig, RobotContract


def put_at_neutral(arm: WidowXRobot, spec: RobotSpec) -> None:
    """At once, as only arithmetic motors may be moved."""
    pose = forward_kinematics(spec, spec.neutral_rad)
    arm.send(Command(pose, 1.0, time.monotonic(), "", 0, spec.base_frame, joints=spec.neutral_rad))
    end = time.monotonic() + 5.0
    while np.abs(arm.observe().joints - spec.neutral_rad).max() > 1e-6:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def arm(ros: None, spec: RobotSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WidowXRobot]:
    """Found at the neutral pose, and not commanded yet."""
    driver = FakeDriver(tmp_path_factory.mktemp("driver"))
    try:
        before = WidowXRobot(spec, clock=MonotonicClock())  # it wakes at its sleep pose
        put_at_neutral(before, spec)
        before.close()
        arm = WidowXRobot(spec, clock=MonotonicClock())
        yield arm
        arm.close()
    finally:
        driver.stop()


@pytest.fixture
def rig(arm: WidowXRobot, spec: RobotSpec) -> Iterator[Rig]:
    clock = MonotonicClock()
    yield Rig(SafeRobot(arm, spec, clock), clock, spec)
    put_at_neutral(arm, spec)


class TestContract(RobotContract):
    """Of the hardware backend."""
