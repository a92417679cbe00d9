"""The simulated world in its own process: state, frames, commands, another scene, and a clean end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mqe_core.robot.geometry import apply_action
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_sim.client import Client
from mqe_sim.scene import make_scene

SPEC = load_robot_spec()


@pytest.fixture(scope="module")
def scene():
    scene = make_scene(SPEC, "place1", 4, realtime=True)
    yield scene
    scene.close()
    assert scene._process.returncode == 0  # SIGTERM ends it cleanly


def wait_for(condition, seconds: float = 10.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return value


def test_the_arm_follows_commands_on_the_wall_clock(scene):
    state = scene.robot.observe()
    np.testing.assert_allclose(state.pose, state.target_pose, atol=5e-3)
    target = state.joints + [0.2, 0, 0, 0, 0, 0]
    scene.robot._link.command(target, 0.0)
    wait_for(lambda: abs(scene.robot.observe().joints[0] - target[0]) < 0.01)
    moved = scene.robot.observe()
    assert moved.target_gripper == 0.0
    assert abs(time.monotonic() - moved.stamp) < 1.0  # stamps are the machine's monotonic clock


def test_frames_are_new_and_of_the_sensor_s_view(scene):
    first = wait_for(scene.camera.read)
    assert first.image.shape == scene.goal.shape and first.domain == "sim"
    assert wait_for(lambda: scene.camera.read().stamp > first.stamp)


def test_frames_come_as_often_as_the_robot_s_camera_s(scene):
    """As fast as the machine allows: a busy one renders fewer, but never as few as half of them."""
    stamps, end = [], time.monotonic() + 2.0
    while time.monotonic() < end:
        stamps.append(scene.camera.read().stamp)
        time.sleep(0.004)
    spans = np.diff(np.unique(stamps))
    assert 0.9 / SPEC.camera.rate_hz < np.median(spans) < 2.0 / SPEC.camera.rate_hz


def test_a_scene_can_be_replaced_and_scored(scene):
    client = scene._client
    before = client.goal()
    client.reset("place1", 5)
    assert client.info()["seed"] == 5
    assert not np.array_equal(before, client.goal())
    assert client.score() == 0.0
    with pytest.raises(ValueError, match="unknown task"):
        client.reset("fold", 0)
    assert client.info()["seed"] == 5  # a refused reset leaves the scene as it was


def test_the_script_tells_each_step_until_the_scene_is_solved(scene):
    """As somebody asks who drives by it: at 5 Hz, through the safety filter."""
    client = scene._client
    client.reset("place1", 5)
    first, again = client.oracle(), client.oracle()
    np.testing.assert_allclose(first.action, again.action, atol=1e-3)  # the arm does not move, and nothing is drawn
    assert not first.solved and not first.done
    robot, end = SafeRobot(scene.robot, SPEC, scene.clock), time.monotonic() + 60.0
    robot.resume()
    sequence, solved = 0, []
    while not (step := client.oracle()).done:
        assert time.monotonic() < end, "the script does not end"
        arm, sequence = scene.robot.observe(), sequence + 1
        pose = apply_action(arm.target_pose, step.action, arm.pose)
        sent = robot.send(Command(pose, float(step.action[6]), scene.clock.now(), "script", sequence, SPEC.base_frame))
        assert sent.refused is None, sent
        solved.append(step.solved)
        scene.clock.sleep_until(scene.clock.now() + SPEC.control.period_s)  # after a late one no two at once
    assert step.solved and not solved[0] and client.score() == 1.0


def test_a_server_renders_the_goal_that_the_scene_in_process_shows(scene):
    scene._client.reset("place1", 4)
    here = make_scene(SPEC, "place1", 4)
    np.testing.assert_array_equal(scene._client.goal(), here.goal)
    here.close()


def test_addresses_off_this_machine_are_refused():
    with pytest.raises(ValueError, match="ipc://"):
        Client("tcp://192.168.0.2:5555")


def test_no_server_is_said_plainly(monkeypatch):
    monkeypatch.setattr("mqe_sim.client._REPLY_TIMEOUT_MS", 200)
    with pytest.raises(RuntimeError, match="no simulation answers"):
        Client("ipc:///tmp/mqe-sim-nobody")


def test_a_malformed_request_does_not_end_the_world(scene):
    assert b"lacks 'kind'" in scene._client._ask({})
    for junk in (b"", b"no json", b"[1, 2]", b"\xff\xfe", b'{"kind": "reset", "task": "place1", "seed": "x"}'):
        scene._client._requests.send(junk)
        assert b"error" in scene._client._requests.recv()
    assert scene._client.info()["task"] == "place1"


@pytest.mark.parametrize("realtime", [False, True])
def test_unknown_tasks_and_negative_seeds_are_refused_before_anything_starts(realtime):
    with pytest.raises(ValueError, match="unknown task 'fold'"):
        make_scene(SPEC, "fold", 0, realtime=realtime)
    with pytest.raises(ValueError, match="negative"):
        make_scene(SPEC, "place1", -1, realtime=realtime)
    for task, stage, message in (
        ("place1", 0, "single stage"),
        ("place2", 2, "not a stage 3"),
        ("place2", -1, "not a stage 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make_scene(SPEC, task, 0, realtime=realtime, stage=stage)


@pytest.mark.parametrize("options", [{"stage": 1}, {"randomise": ("light",)}])
def test_a_scene_in_real_time_is_the_plain_one(options):
    with pytest.raises(ValueError, match="in real time"):
        make_scene(SPEC, "place2", 0, realtime=True, **options)


def test_the_server_ends_with_a_killed_parent(tmp_path):
    address = f"ipc://{tmp_path / 'world'}"
    start = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen([sys.executable, '-m', 'mqe_sim.server', '--address', {address!r}, "
        "'--end-with-parent']); "
        "print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    Client(address).close()
    parent.kill()
    parent.wait()
    wait_for(lambda: has_ended(child))


def has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
