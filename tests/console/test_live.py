"""Promise: a page gets beats and the newest pictures at its own pace, and its hand lets go when it is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

pytest.importorskip("nicegui", reason="needs NiceGUI: pip install -r requirements/console.txt")

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mqe_core import images
from mqe_core.console.hands import Hands
from mqe_core.console.link import REFERENCE
from mqe_core.console.live import PICTURES, Live
from mqe_core.console.pictures import JpegPictures
from mqe_core.runtime.teleop.devices import load_devices
from tests.console.fake_link import FakeLink

PATIENCE_S = 20.0


@pytest.fixture
def hands() -> Hands:
    return Hands(load_devices())


@pytest.fixture
def client(hands: Hands) -> TestClient:
    live = Live(JpegPictures(FakeLink()), hands)
    return TestClient(Starlette(routes=[WebSocketRoute("/live", live.serve)]))


def until(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def beat(line) -> dict:
    """The next beat; pictures are answered."""
    while True:
        message = line.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"])
        if message.get("text"):
            return json.loads(message["text"])
        line.send_json({"got": 1})


def test_pictures_come_one_after_the_other_and_the_newest(client: TestClient) -> None:
    with client.websocket_connect("/live") as line:
        seen = []
        while len(seen) < 6:
            message = line.receive()
            if message.get("bytes"):
                data = message["bytes"]
                seen.append(data[0])
                small = PICTURES[data[0]] == REFERENCE
                assert images.decode(data[1:]).shape == ((128, 128, 3) if small else (480, 640, 3))
                line.send_json({"got": 1})
        assert set(seen) == set(range(len(PICTURES)))


def test_without_an_answer_no_further_picture_is_sent(client: TestClient) -> None:
    with client.websocket_connect("/live") as line:
        pictures, beats, begun = 0, 0, time.monotonic()
        while beats < 20 and time.monotonic() - begun < 1.5:
            message = line.receive()
            pictures += bool(message.get("bytes"))
            beats += bool(message.get("text"))
        assert pictures == 1 and beats > 5


def test_a_hand_counts_while_it_is_said_again_and_lets_go_when_the_page_is_gone(
    client: TestClient, hands: Hands
) -> None:
    with client.websocket_connect("/live") as line:
        end = time.monotonic() + PATIENCE_S
        while not hands.wish(time.monotonic()).engaged:  # a busy machine may be late, which lets go
            assert time.monotonic() < end
            for held in (False, True):
                line.send_json({"hand": {"beat": beat(line)["beat"], "dead_man": held, "keys": ["w"]}})
                time.sleep(0.01)
    until(lambda: not hands.wish(time.monotonic()).engaged, "the hand lets go")


@pytest.mark.parametrize("odd", ["no JSON", "[]", b"\x00\x01"])
def test_what_no_page_says_lets_the_hand_go(client: TestClient, hands: Hands, odd: str | bytes) -> None:
    with client.websocket_connect("/live") as line:

        def say(held: bool) -> None:
            line.send_json({"hand": {"beat": beat(line)["beat"], "dead_man": held, "keys": ["w"]}})
            beat(line)

        end = time.monotonic() + PATIENCE_S
        while not hands.wish(time.monotonic()).engaged:
            assert time.monotonic() < end
            say(False)
            say(True)
        line.send_bytes(odd) if isinstance(odd, bytes) else line.send_text(odd)
        for _ in range(3):  # still held, as far as the page knows: it must be released first
            say(True)
            assert not hands.wish(time.monotonic()).engaged


def test_what_nobody_understands_is_told_and_too_much_of_it_ends_the_line(client: TestClient) -> None:
    with client.websocket_connect("/live") as line:
        for text in ("no JSON", "[]", '{"hand": 3}', "{" * 5000, '{"hand": {"beat": 1}}'):
            line.send_text(text)
        told = ""
        for _ in range(60):
            told = beat(line)["hand"]
            if told != "no page has its hand control on":
                break
        assert told
        with pytest.raises(WebSocketDisconnect):
            for _ in range(200):
                line.send_text("no JSON")
                beat(line)


def test_a_picture_that_cannot_be_read_is_left_out(hands: Hands) -> None:
    class Broken(FakeLink):
        def picture(self, name: str):
            if name == "camera":
                raise ValueError("image encoding 'mono16'")
            return super().picture(name)

    client = TestClient(Starlette(routes=[WebSocketRoute("/live", Live(JpegPictures(Broken()), hands).serve)]))
    with client.websocket_connect("/live") as line:
        while True:
            message = line.receive()
            if message.get("bytes"):
                assert PICTURES[message["bytes"][0]] == "goal"
                break


def test_a_picture_is_encoded_once_for_all_pages() -> None:
    class Counted(FakeLink):
        read = 0

        def picture(self, name: str):
            self.read += 1
            return super().picture(name)

    link = Counted()
    pictures = JpegPictures(link)
    assert pictures.newest("goal") == pictures.newest("goal") and link.read == 1
    assert JpegPictures(FakeLink(speaks=False)).newest("goal") is None
