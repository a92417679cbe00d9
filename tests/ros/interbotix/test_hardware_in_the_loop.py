"""Promise: backend hardware does the job, through the whole graph and the driver's topics, and puts the arm to
rest at the end.

The driver is fake_xs_sdk.py, its motors the PyBullet arm's; camera and policy are the sim's.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")
pytest.importorskip("interbotix_xs_msgs", reason="the tests' messages are not built: make test-setup")

from mqe_bringup.graph import build_graph
from mqe_bringup.process import Process, node
from mqe_bringup.scene_run import drive
from mqe_bringup.supervisor import Supervisor
from mqe_core.robot.safety_rules import MOTORS
from mqe_core.robot.spec import RobotSpec
from mqe_interfaces.msg import ArmStatus
from tests.ros.interbotix_driver import FakeDriver

FORBIDDEN = ("torque_enable", "set_operating_modes", "reboot_motors", "trajectory")


def arm_node() -> Process:
    return node("arm_node", {"backend": "hardware", "table_height_m": 0.0})


def test_the_hardware_path_completes_place1(user_folder: Path, tmp_path: Path) -> None:
    graph = build_graph({"backend": "sim", "goal": "place.png", "autostart": "false"})
    supervisor, driver = Supervisor(graph.environment, log_folder=tmp_path), None
    try:
        supervisor.start([process for process in graph.processes if process.name == "sim"])
        driver = FakeDriver(tmp_path, "--address", graph.sim_address)
        supervisor.start(
            [arm_node(), *(process for process in graph.processes if process.name in ("camera_node", "policy_node"))]
        )

        def check() -> None:
            ended = supervisor.ended()
            assert ended is None, supervisor.log_tail(ended[0])

        outcome = drive(graph, "place.png", check, lambda _: None)
    finally:
        supervisor.stop()
        if driver is not None:
            driver.stop()
    assert outcome["task"] == "place1" and outcome["success"], outcome
    commands = np.array([values for _, values in driver.commands("group")])
    assert len(commands) > 20 and np.isfinite(commands).all()
    forces = np.array([values[0] for _, values in driver.commands("gripper")])
    assert forces.min() < -100  # it gripped
    assert all(driver.commands(name) == [] for name in FORBIDDEN)


@pytest.fixture
def process(driver: FakeDriver, client):
    """arm_node on the fake driver, homed."""
    process = subprocess.Popen(arm_node().command, env=os.environ)
    client.wait(lambda: process.poll() is not None or client.newest("/arm/status"), "the arm node's start")
    assert process.poll() is None
    assert client.call("/arm/home").success
    client.wait(lambda: client.newest("/arm/status").reason == "homing", "homing")
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.READY, "the end of homing")
    yield process
    process.kill()
    process.wait()


def test_a_clean_end_puts_the_arm_to_rest_with_its_torque_on(
    process: subprocess.Popen, driver: FakeDriver, spec: RobotSpec
) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    # It is there once the pose is within 0.1 mm and 1 mrad, which is a little more in the joints.
    np.testing.assert_allclose(driver.commands("group")[-1][1], spec.sleep_rad, atol=5e-3)
    assert all(driver.commands(name) == [] for name in FORBIDDEN)


def test_an_operator_can_hold_the_arm_while_it_parks(
    process: subprocess.Popen, driver: FakeDriver, client, spec: RobotSpec
) -> None:
    client.spin(1.0)
    process.send_signal(signal.SIGINT)
    client.wait(lambda: client.newest("/arm/status").reason == "parking", "parking")
    assert client.call("/arm/hold").success
    assert process.wait(30) == 0
    assert np.abs(np.array(driver.commands("group")[-1][1]) - spec.sleep_rad).max() > 0.1


def test_an_arm_that_is_held_is_left_where_it_is(process: subprocess.Popen, driver: FakeDriver, client) -> None:
    assert client.call("/arm/hold").success
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the hold")
    before = len(driver.commands("group"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert len(driver.commands("group")) == before


def test_a_motor_that_runs_hot_is_a_fault_with_its_name(process: subprocess.Popen, client, fault) -> None:
    fault("hot")
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.FAULT, "the fault")
    assert client.newest("/arm/status").reason.startswith(f"{MOTORS}: waist: 70 C")
    fault("ok")
    client.wait(lambda: client.newest("/arm/status").state == ArmStatus.HELD, "the recovery")
    assert client.call("/arm/resume").success


def test_without_a_driver_the_node_ends_with_the_remedy(user_folder: Path) -> None:
    ended = subprocess.run(arm_node().command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "no arm driver answers under /wx250s; start it: ros2 launch" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_tables_height_no_real_arm_is_driven(user_folder: Path) -> None:
    process = node("arm_node", {"backend": "hardware"})
    ended = subprocess.run(process.command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "table_height_m must be given" in ended.stderr
