"""Promise: the true page, behind its true server, outlives what is sent to it, and asks nothing of the arm for it."""

from __future__ import annotations

import random
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.page_process import PageProcess
from tests.console import odd_requests

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
websockets = pytest.importorskip("websockets")

REQUESTS, SOCKETS, SEED = 300, 60, 23
LINES = ("/live", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket")
PATIENCE_S = 60.0
# What the page's own messages look like, with values that none of them has.
ODD = (
    '{"hand": {"beat": 1, "axes": [NaN, 1e9, -1e999, 0], "buttons": [1, 1, 1]}}',
    '{"hand": {"beat": 1, "axes": [1e9, 1e9], "buttons": []}}',
    '{"hand": {"beat": true, "dead_man": true, "keys": ["w"]}}',
    '{"hand": {"beat": 9e99, "dead_man": true, "keys": ["w", "w"]}}',
    '{"hand": {"beat": 1, "dead_man": 1, "keys": "w"}}',
    '{"hand": {"beat": null, "axes": [null], "buttons": [{}]}}',
    '{"hand": {"axes": [[[]]], "buttons": null}}',
    '{"hand": ' + '{"hand": ' * 2000,
    '{"got": {"got": []}}',
    "[" * 4000,
    '42["event",{"client_id":"x","id":1,"listener_id":"y","args":"[1]"}]',
    '42["handshake",{"client_id":"../../x"}]',
    "40",
    "3probe",
    '451-["event",{"_placeholder":true,"num":9}]',
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[PageProcess]:
    process = PageProcess(tmp_path)
    yield process
    process.kill()


def sent(port: int, data: bytes) -> bytes:
    """The begin of what is answered; empty where nothing is, as to a request that does not end."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as line:
        try:
            line.sendall(data)
            line.settimeout(0.1)
            return line.recv(200)
        except OSError:
            return b""


def raw(rng: random.Random, own: str) -> bytes:
    """A request as bytes, mostly well formed."""
    made = odd_requests.scope(rng, "http", [("host", own), ("origin", f"http://{own}")])
    path = made["path"].encode("utf-8", "surrogatepass") + (
        b"?" + made["query_string"] if made["query_string"] else b""
    )
    head = made["method"].encode() + b" " + path + b" HTTP/1.1\r\n"
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in made["headers"])
    data = head + lines + b"\r\n" + b"".join(odd_requests.body(rng))
    return rng.randbytes(200) if rng.random() < 0.05 else data


def test_the_page_outlives_it(served: PageProcess) -> None:
    from websockets.sync.client import connect

    rng, own = random.Random(SEED), f"127.0.0.1:{served.port}"
    for _ in range(REQUESTS):
        answer = sent(served.port, raw(rng, own))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 "), answer
        assert not answer.startswith(b"HTTP/1.1 5"), answer
    for number in range(SOCKETS):
        line = f"ws://{own}{LINES[number % 2]}"
        messages = [
            rng.choice(ODD) if rng.random() < 0.7 else rng.randbytes(rng.choice((0, 1, 5000))) for _ in range(9)
        ]
        with connect(line, origin=f"http://{own}", open_timeout=PATIENCE_S, max_size=None) as talk:
            try:
                for message in messages:
                    talk.send(message)
                talk.recv(timeout=0.05)
            except (TimeoutError, OSError, websockets.ConnectionClosed):
                pass
    assert urllib.request.urlopen(served.address, timeout=PATIENCE_S).status == 200
    assert "asked:" not in served.said  # the arm
    assert "mqe_core" not in served.said, served.said[-3000:]  # an error of ours; the library tells of its own
