"""Promise: `mqe up` starts the graph without a sourced workspace; Ctrl-C ends every process with exit code 0;
nothing outlives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mqe_bringup", reason="the ROS workspace is not built: make setup")

from mqe_core.robot.spec import load_robot_spec
from mqe_ros import convert
from tests.ros.ros_helpers import PATIENCE_S, STEP_M, Client

WORKSPACE_VARIABLES = ("AMENT_PREFIX_PATH", "COLCON_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH")


def start(*arguments: str, foreground: bool = False) -> subprocess.Popen:
    """`mqe up` from an environment in which nothing was sourced; `foreground`: a group of its own, as a shell makes."""
    environment = {name: value for name, value in os.environ.items() if name not in WORKSPACE_VARIABLES}
    return subprocess.Popen(
        [sys.executable, "-m", "mqe_core.cli", "up", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=foreground,
    )


def children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended since
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def alive(pids: set[int]) -> set[int]:
    return {
        pid
        for pid in pids
        if Path(f"/proc/{pid}").exists()
        and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:1]
    }


@pytest.fixture
def mock(constant_policy: Path, synthetic_store: Path, user_folder: Path, client: Client) -> Iterator[subprocess.Popen]:
    """The mock graph pursuing a goal; the arm has been commanded."""
    up = start("backend:=mock", f"policy:={constant_policy}", f"camera:={synthetic_store}", "goal:=corner")
    client.wait(lambda: up.poll() is not None or client.heard["/policy/command"], "the first command")
    assert up.poll() is None, up.stderr.read()
    yield up
    if up.poll() is None:
        up.kill()
        up.wait()


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.9, 1.4, 2.0, 2.6, 3.2])
def test_ctrl_c_while_it_starts_is_no_traceback(
    delay_s: float, constant_policy: Path, synthetic_store: Path, user_folder: Path
) -> None:
    """As a terminal sends it: to every process of the foreground."""
    up = start(
        "backend:=mock", f"policy:={constant_policy}", f"camera:={synthetic_store}", "goal:=corner", foreground=True
    )
    time.sleep(delay_s)
    os.killpg(up.pid, signal.SIGINT)
    said = "".join(up.communicate(timeout=PATIENCE_S))
    assert up.returncode in (0, 130), said
    assert "Traceback" not in said and "KeyboardInterrupt" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process_cleanly(mock: subprocess.Popen, number: signal.Signals) -> None:
    pids = children(mock.pid)
    assert len(pids) == 3
    mock.send_signal(number)
    _, said = mock.communicate(timeout=PATIENCE_S)
    assert mock.returncode == 0, said
    assert alive(pids) == set()
    assert "Traceback" not in said and "backend: mock" in said


def test_a_node_that_dies_ends_the_rest_and_is_named(mock: subprocess.Popen) -> None:
    pids = children(mock.pid)
    victim = next(pid for pid in pids if b"camera_node" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(victim, signal.SIGKILL)
    _, said = mock.communicate(timeout=PATIENCE_S)
    assert mock.returncode == 1 and "camera_node ended with exit code -9; the arm holds where it is" in said
    assert alive(pids) == set()


def test_a_recorder_that_dies_ends_nothing_else(
    constant_policy: Path, synthetic_store: Path, user_folder: Path, client: Client, tmp_path: Path
) -> None:
    arguments = (
        f"policy:={constant_policy}",
        f"camera:={synthetic_store}",
        "goal:=corner",
        f"record:={tmp_path / 'bag'}",
    )
    up = start("backend:=mock", *arguments)
    try:
        client.wait(lambda: up.poll() is not None or client.heard["/policy/command"], "the first command")
        victim = next(pid for pid in children(up.pid) if b"record_node" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(victim, signal.SIGKILL)
        client.spin(1.0)
        client.heard["/policy/command"].clear()
        client.wait(lambda: up.poll() is not None or client.heard["/policy/command"], "a command")
        assert up.poll() is None
    finally:
        up.send_signal(signal.SIGINT)
        said = up.communicate(timeout=PATIENCE_S)[1]
    assert "mqe up: record_node ended with exit code -9; the graph goes on without it" in said
    assert up.returncode == 1  # it did fail


def test_a_second_graph_in_the_same_domain_is_refused_before_it_speaks(mock: subprocess.Popen) -> None:
    second = start("backend:=mock")
    said = second.communicate(timeout=PATIENCE_S)[1]
    assert (
        second.returncode == 1
        and said.startswith("mqe up: another arm_node runs in ROS domain")
        and "camera_node" not in said
    )
    assert mock.poll() is None


@pytest.mark.parametrize("domain", ["abc", "-1", "102"])
def test_a_domain_that_is_none_is_refused_in_one_line(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    up = start("backend:=mock")
    said = up.communicate(timeout=PATIENCE_S)[1]
    assert (up.returncode, said.count("\n")) == (1, 1), said
    assert said.startswith("mqe up: ROS_DOMAIN_ID must be a whole number from 0 to 101")


def test_nothing_outlives_a_killed_mqe_up(mock: subprocess.Popen) -> None:
    pids = children(mock.pid)
    mock.kill()
    mock.wait()
    end = time.monotonic() + PATIENCE_S
    while alive(pids):
        assert time.monotonic() < end, f"{alive(pids)} outlived their parent"
        time.sleep(0.05)


def test_what_is_missing_is_one_line_with_the_remedy(constant_policy: Path, user_folder: Path) -> None:
    up = start("backend:=hardware", f"policy:={constant_policy}")
    _, said = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 1
    assert said.strip().splitlines()[-1].startswith("mqe up: backend hardware cannot start")
    assert "Traceback" not in said


def test_the_simulated_arm_is_driven_and_recorded(
    constant_policy: Path, user_folder: Path, client: Client, tmp_path: Path
) -> None:
    pytest.importorskip("pybullet", reason="the simulator is not installed")
    from rosbags.rosbag2 import Reader

    from mqe_ros.record_node import own_typestore

    bag = tmp_path / "bag"
    up = start(f"policy:={constant_policy}", "goal:=corner", f"record:={bag}")
    try:
        client.wait(lambda: up.poll() is not None or len(client.heard["/policy/command"]) > 10, "ten commands")
        assert up.poll() is None, up.stderr.read()
        begin, target, pose = (
            m.pose.position
            for m in (
                client.heard["/arm/ee_target"][0],
                client.newest("/arm/ee_target"),
                client.newest("/arm/ee_pose"),
            )
        )
        assert target.x - begin.x > 9 * STEP_M and pose.x > begin.x
        assert (
            max(abs(target.x - pose.x), abs(target.y - pose.y), abs(target.z - pose.z))
            < load_robot_spec().control.tracking_tolerance_m
        )
    finally:
        up.send_signal(signal.SIGINT)
        _, said = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 0, said
    types = own_typestore()
    with Reader(bag) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        messages = [(c.topic, types.deserialize_cdr(raw, c.msgtype)) for c, _, raw in reader.messages()]
    assert counts["/policy/command"] > 10 and counts["/camera/image_raw"] > 10 and counts["/goal/image"] == 1
    recorded = [message.sequence for topic, message in messages if topic == "/policy/command"]
    assert recorded == list(range(recorded[0], recorded[0] + len(recorded)))
    image = next(message for topic, message in messages if topic == "/camera/image_raw")
    assert convert.image_to_array(image).std() > 5  # a picture, not a grey nothing
