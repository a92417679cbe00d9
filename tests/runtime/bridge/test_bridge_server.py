"""Promise: the connection speaks the published server's own protocol, and takes no pickle but of plain values."""

from __future__ import annotations

import time

import lz4.frame
import numpy as np
import pytest

from mqe_core.images import encode_png
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.bridge import bridge_server
from mqe_core.runtime.bridge.bridge_robot import BridgeServerCamera
from mqe_core.runtime.bridge.bridge_server import BridgeServer, handshake
from mqe_core.runtime.robot import MonotonicClock
from tests.runtime.bridge.fake_bridge_server import FakeBridgeServer


def test_the_handshake_is_the_published_one_byte_for_byte() -> None:
    assert handshake(5556) == (
        '{"port_number":5556,"action_keys":["init","move","gripper","reset","step_action","reboot_motor"],'
        '"observation_keys":["image","state","full_image"],"broadcast_port":5557,"version":"0.0.1"}'
    )


def test_requests_carry_plain_values_only(fake: FakeBridgeServer, step) -> None:
    step((0.01, 0.0, 0.0))

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(entry) for key, entry in value.items())
        return all(map(plain, value)) if type(value) is list else type(value) in (str, int, float, bool)

    assert fake.requests and all(plain(request) for request in fake.requests)


def test_every_server_is_initialised_with_our_workspace(connect, spec: RobotSpec) -> None:
    fake = FakeBridgeServer(initialised=False)
    try:
        connect(fake)
        (init,) = [request["payload"] for request in fake.requests if request.get("key") == "init"]
        low, high = init["env_params"]["override_workspace_boundaries"]
        assert low[:3] == spec.workspace.low_m.tolist() and high[:3] == spec.workspace.high_m.tolist()
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


def test_a_reply_that_would_become_gigabytes_is_refused_before_it_does(
    fake: FakeBridgeServer, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = connect(fake)
    monkeypatch.setattr(bridge_server, "_MAX_REPLY_BYTES", 2**20)
    monkeypatch.setattr(fake, "_answer", lambda request: {"state": bytes(2**24)})
    time.sleep(0.06)
    with pytest.raises(RuntimeError, match="holds more than 1048576 bytes"):
        link.observation()


def test_a_picture_that_is_much_work_is_an_error_of_the_camera(
    fake: FakeBridgeServer, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = connect(fake)
    observe = fake._observation
    large = encode_png(np.zeros((3000, 3000, 3), np.uint8))
    monkeypatch.setattr(fake, "_observation", lambda: {**observe(), "full_image": large})
    time.sleep(0.06)
    with pytest.raises(RuntimeError, match="the server's camera: 3000x3000 pixels; at most 4000000"):
        BridgeServerCamera(link).read()
