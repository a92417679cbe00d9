"""Promise: an arm behind a bridge_data_robot server goes where that server goes, and never twice for one step."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from mqe_core.robot.geometry import euler_to_rotation, make_pose
from mqe_core.robot.safety_rules import JOINT_STATE, MOTORS, STALE_STATE, TRANSLATION_STEP
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.bridge.bridge_robot import BridgeServerCamera, BridgeServerRobot
from mqe_core.runtime.bridge.bridge_server import BridgeServer
from mqe_core.runtime.robot import Command, MonotonicClock
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.safety.verdict import Verdict
from tests.runtime.bridge.fake_bridge_server import FakeBridgeServer

DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def test_the_servers_target_is_ours_step_by_step(fake: FakeBridgeServer, step, robot: SafeRobot) -> None:
    rng = np.random.default_rng(0)
    for k in range(8):  # large turns there and back: their Euler angles exceed what the server carries out
        sent = step(rng.uniform(-0.05, 0.05, 3), (-1) ** k * np.array([0.28, 0.28, 0.28]), 0.0)
        assert sent.refused is None
        np.testing.assert_allclose(fake.position, sent.pose[:3, 3], atol=1e-6)
        np.testing.assert_allclose(robot.observe().target_pose, sent.pose, atol=1e-9)
    assert fake.gripper == 0.0 and len(fake.steps) == 8


def test_a_step_beyond_what_the_server_carries_out_is_shortened_along_its_way(fake: FakeBridgeServer, step) -> None:
    before = step((0.05, 0.05, -0.02), (0.2, 0.0, 0.25))
    time.sleep(0.1)  # with a whole control period the joints are quick enough
    after = step((0.05, 0.05, -0.02), (0.2, 0.0, 0.25))  # of an arm that lags behind
    assert before.clipped == () and after.clipped == (TRANSLATION_STEP,) and "in one step" in after.detail
    way, direction = after.pose[:3, 3] - before.pose[:3, 3], np.array([0.05, 0.05, -0.02])
    np.testing.assert_allclose(way / np.linalg.norm(way), direction / np.linalg.norm(direction), atol=1e-3)
    assert all((np.abs(action[:6]) <= np.array([0.05] * 3 + [0.25] * 3) + 1e-9).all() for action in fake.steps)
    np.testing.assert_allclose(fake.position, after.pose[:3, 3], atol=1e-6)


def test_turns_of_a_moving_arm_let_the_targets_drift_apart_but_slowly(connect, spec: RobotSpec) -> None:
    fake = FakeBridgeServer(follows=True)
    fake.observing_s = 0.08  # as the published server's
    try:
        robot = SafeRobot(BridgeServerRobot(spec, server=connect(fake)), spec, MonotonicClock())
        for k in range(8):  # as quick as a policy may, there and back
            time.sleep(spec.control.period_s)
            pose = robot.observe().target_pose
            pose[:3, 3] += (-1) ** (k // 2) * np.array([0.03, 0.02, 0.0])
            pose[:3, :3] = euler_to_rotation((-1) ** (k // 2) * np.array([0.0, 0.0, 0.15])) @ pose[:3, :3]
            sent = robot.send(Command(pose, 1.0, time.monotonic(), "test", k + 1, spec.base_frame))
            assert sent.refused is None
            assert np.linalg.norm(fake.position - sent.pose[:3, 3]) < 0.005  # some 1 mm
    finally:
        fake.close()


def test_a_state_is_as_old_as_its_request(fake: FakeBridgeServer, step, robot: SafeRobot) -> None:
    assert step((0.01, 0.0, 0.0)).refused is None
    fake.observing_s = 0.4
    assert step((0.01, 0.0, 0.0)).refused == STALE_STATE and len(fake.steps) == 1
    fake.observing_s = 0.0
    assert step((0.01, 0.0, 0.0)).refused is None


def test_the_camera_shows_the_true_colours(fake: FakeBridgeServer, connect) -> None:
    frame = BridgeServerCamera(connect(fake)).read()
    assert frame.domain == "real" and frame.image.shape == (48, 64, 3)
    np.testing.assert_allclose(frame.image.reshape(-1, 3).mean(0), (190, 90, 40), atol=4)


def test_a_step_without_an_answer_is_the_end_and_never_repeated(
    fake: FakeBridgeServer, step, robot: SafeRobot, spec: RobotSpec
) -> None:
    step((0.01, 0.0, 0.0))
    fake.silent = True
    refused = step((0.0, 0.0, 0.02))
    assert refused.refused == MOTORS and "may still be carried out" in refused.detail
    time.sleep(1.0)
    assert len(fake.steps) == 2  # it was carried out, once
    with pytest.raises(RuntimeError, match="target is not known any more"):
        robot.observe()
    assert step_pose(robot, spec).refused is not None and len(fake.steps) == 2


@pytest.mark.parametrize(
    "reply", [{"status": 2}, {"success": False, "message": "Invalid payload"}, [1], "text", {"status": np.ones(2)}]
)
def test_a_step_that_is_not_confirmed_is_the_end(
    fake: FakeBridgeServer, step, robot: SafeRobot, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    original = fake._answer
    monkeypatch.setattr(
        fake,
        "_answer",
        lambda request: (original(request), reply)[1] if request.get("key") == "step_action" else original(request),
    )
    refused = step((0.01, 0.0, 0.0))
    assert refused.refused == MOTORS and "may still be carried out" in refused.detail and len(fake.steps) == 1
    with pytest.raises(RuntimeError, match="target is not known any more"):
        robot.observe()
    assert step_pose(robot, spec).refused is not None and len(fake.steps) == 1


def test_a_target_that_the_server_does_not_confirm_is_not_said_to_be_re_based(
    fake: FakeBridgeServer, step, robot: SafeRobot
) -> None:
    step((0.03, 0.0, 0.0))
    fake.silent = True
    with pytest.raises(RuntimeError, match="may still be carried out"):
        robot.rebase()


def test_a_step_that_is_interrupted_is_the_end(step, robot: SafeRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BridgeServer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        step((0.01, 0.0, 0.0))
    with pytest.raises(RuntimeError, match="target is not known any more"):
        robot.observe()


@pytest.mark.parametrize("silent", [True, False])
def test_an_arm_that_cannot_be_observed_while_its_command_is_judged_is_not_driven(
    fake: FakeBridgeServer, connect, spec: RobotSpec, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    robot = SafeRobot(BridgeServerRobot(spec, server=connect(fake)), spec, MonotonicClock())
    target = robot.observe().target_pose

    def judge(asked: Command, *_) -> Verdict:  # takes longer than an observation lasts, in which the server fails
        time.sleep(0.06)
        fake.observing_s = 1.2 if silent else 0.0
        monkeypatch.setattr(fake, "_answer", lambda request: [1])
        allowed = replace(asked, joints=spec.neutral_rad, refused=None)
        return Verdict(asked, allowed, refusal=None, start=None, time=time.monotonic())

    monkeypatch.setattr(robot._filter, "judge", judge)
    refused = robot.send(Command(target, 1.0, time.monotonic(), "test", 1, spec.base_frame))
    assert refused.refused == JOINT_STATE and fake.steps == []


def test_a_picture_that_is_none_is_said_like_any_cameras_failure(
    fake: FakeBridgeServer, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, original = BridgeServerCamera(connect(fake)), fake._answer
    monkeypatch.setattr(fake, "_answer", lambda request: {**original(request), "full_image": b"no JPEG"})
    time.sleep(0.06)
    with pytest.raises(RuntimeError, match="not a readable JPEG"):
        camera.read()


def step_pose(robot: SafeRobot, spec: RobotSpec) -> Command:
    """A command that asks nothing of the robot first."""
    pose = make_pose(DOWN, np.array([0.3, 0.0, 0.15]))
    return robot.send(Command(pose, 1.0, time.monotonic(), "test", 10**6, spec.base_frame))
