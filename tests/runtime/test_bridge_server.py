"""Promise: an arm behind a bridge_data_robot server is driven by that server's own protocol, never twice for one step, never by a pickle, and
not moved for a run that is refused.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lz4.frame
import numpy as np
import pytest

from mqe_core.cli import main
from mqe_core.geometry import euler_to_rotation, make_pose
from mqe_core.goals import write_goal
from mqe_core.runtime import bridge_server
from mqe_core.runtime.bridge_server import BridgeServer, BridgeServerCamera, BridgeServerRobot, handshake
from mqe_core.runtime.robot import Command, MonotonicClock
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.runtime.safety_rules import JOINT_STATE, MOTORS, STALE_STATE, TRANSLATION_STEP
from mqe_core.spec import RobotSpec

sys.path.insert(0, str(Path(__file__).parent))
from fake_bridge_server import FakeBridgeServer

DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


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


def test_the_handshake_is_the_published_one_byte_for_byte() -> None:
    assert handshake(5556) == (
        '{"port_number":5556,"action_keys":["init","move","gripper","reset","step_action","reboot_motor"],'
        '"observation_keys":["image","state","full_image"],"broadcast_port":5557,"version":"0.0.1"}'
    )


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


def test_requests_carry_plain_values_only(fake: FakeBridgeServer, step) -> None:
    step((0.01, 0.0, 0.0))

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(entry) for key, entry in value.items())
        return all(map(plain, value)) if type(value) is list else type(value) in (str, int, float, bool)

    assert fake.requests and all(plain(request) for request in fake.requests)


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

    def judge(command: Command, *_) -> Command:  # takes longer than an observation lasts, in which the server fails
        time.sleep(0.06)
        fake.observing_s = 1.2 if silent else 0.0
        monkeypatch.setattr(fake, "_answer", lambda request: [1])
        return replace(command, joints=spec.neutral_joints, refused=None)

    monkeypatch.setattr(robot._filter, "filter", judge)
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


def test_every_server_is_initialised_with_our_workspace(connect, spec: RobotSpec) -> None:
    fake = FakeBridgeServer(initialised=False)
    try:
        connect(fake)
        (init,) = [request["payload"] for request in fake.requests if request.get("key") == "init"]
        low, high = init["env_params"]["override_workspace_boundaries"]
        assert low[:3] == spec.workspace.low.tolist() and high[:3] == spec.workspace.high.tolist()
        assert init["env_params"]["camera_topics"] == [{"name": "/blue/image_raw"}]
    finally:
        fake.close()


def test_another_version_and_nobody_are_refused_with_the_reason(connect, spec: RobotSpec) -> None:
    fake = FakeBridgeServer(version="0.0.2")
    try:
        with pytest.raises(RuntimeError, match="speaks another version"):
            connect(fake)
    finally:
        fake.close()
    with pytest.raises(RuntimeError, match="no bridge_data_robot server answers"):
        BridgeServer("127.0.0.1", 9, clock=MonotonicClock())


class Bomb:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


@pytest.mark.parametrize("reply", [Bomb(), {"state": Bomb()}, [1, 2], "text", b""])
def test_a_hostile_reply_is_refused_and_not_executed(
    fake: FakeBridgeServer, connect, reply: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    link = connect(fake)
    monkeypatch.setattr(fake, "_answer", lambda request: reply)
    time.sleep(0.06)
    with pytest.raises(RuntimeError):
        link.observation()
    assert "executed" not in capsys.readouterr().out


def test_bytes_that_are_no_frame_are_refused(fake: FakeBridgeServer, connect, monkeypatch: pytest.MonkeyPatch) -> None:
    link = connect(fake)
    original = lz4.frame.compress
    calls = iter([original, lambda _: b"nonsense"])  # the request as it is, the reply garbled
    monkeypatch.setattr(bridge_server.lz4.frame, "compress", lambda data: next(calls)(data))
    time.sleep(0.06)
    with pytest.raises(RuntimeError, match="no LZ4 frame"):
        link.observation()


@pytest.fixture
def run_arguments(fake: FakeBridgeServer, make_bundle, spec: RobotSpec, tmp_path: Path) -> Callable[[str], list[str]]:
    """`mqe run` on the fake's arm with policy and goal of one domain, but for the table's height."""

    def build(domain: str) -> list[str]:
        goal = tmp_path / f"{domain}.png"
        scene = {"task": "place1", "seed": 0} if domain == "sim" else {}
        picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        write_goal(
            goal, picture, camera=spec.camera.name, domain=domain, capture_pose=[0.3, 0, 0.15, 0, 0, 0, 1], **scene
        )
        arguments = [
            "run",
            "--backend",
            "bridge-server",
            "--host",
            "127.0.0.1",
            "--port",
            str(fake.port),
            "--goal",
            str(goal),
        ]
        return [*arguments, "--policy", str(make_bundle(domain=domain))]

    return build


def test_no_arm_is_moved_for_a_run_that_is_refused(
    fake: FakeBridgeServer, run_arguments, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for domain, more, reason in (
        ("sim", [], "camera of the backend bridge-server shows real images"),
        ("real", ["--out", str(tmp_path / "full")], "already holds something"),
        ("real", ["--out", str(tmp_path / "full" / "file" / "below")], "file"),
        ("real", ["--seconds", "inf"], "--seconds"),
    ):
        assert main([*run_arguments(domain), "--table-height", "0", *more]) == 1
        assert reason in capsys.readouterr().err
    assert [request for request in fake.requests if request["type"] == "act"] == []


def test_mqe_run_drives_it(fake: FakeBridgeServer, run_arguments, capsys: pytest.CaptureFixture) -> None:
    arguments = [*run_arguments("real"), "--seconds", "2"]
    assert main(arguments) == 1 and "--table-height" in capsys.readouterr().err
    assert main([*arguments, "--table-height", "0"]) == 0
    assert len(fake.steps) >= 8 and all(0.0 < action[0] <= 0.02 for action in fake.steps)
    assert "bridge_data_robot server at 127.0.0.1" in capsys.readouterr().out
