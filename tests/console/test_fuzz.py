"""Promise: whatever is sent to the console, it answers once and in words, and reaches no more than it may."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from mqe_core.console.access import Access, Limits
from mqe_core.console.bounded_messages import Bounds
from mqe_core.console.file_routes import FileRoutes
from mqe_core.console.goals_folder import GoalsFolder
from mqe_core.console.listening import listening
from mqe_core.console.rates import Rate
from mqe_core.console.recordings import Recordings
from mqe_core.policy.goals import write_goal
from tests.console import odd_requests
from tests.console.asgi_client import HOST, Echo, asked, talk
from tests.data.written_bag import picture

REQUESTS, SOCKETS, SEED = 5000, 1500, 23
OWN = [("host", HOST), ("origin", f"http://{HOST}")]
OFTEN = Limits(requests=Rate(10**9, 1), wrong_tokens=Rate(10**9, 1), bounds=Bounds(body_bytes=9000, message_bytes=5000))
STATUSES = {200, 400, 401, 403, 404, 405, 413, 414}


class SmallConsole(Echo):
    """Pictures, and WebSockets that answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.routes = FileRoutes(GoalsFolder(folder), Recordings(folder))

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            self.reached.append(scope["path"])
            await self.routes(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


@pytest.fixture
def small(tmp_path: Path) -> SmallConsole:
    write_goal(tmp_path / "shown" / "place.png", picture(0), camera="c", domain="real", capture_pose=[0.0] * 7)
    write_goal(tmp_path / "secret.png", picture(1), camera="c", domain="real", capture_pose=[0.0] * 7)
    return SmallConsole(tmp_path / "shown")


def require_sound(answer, name: str) -> None:
    assert answer.status in STATUSES, f"{name}: {answer.status} {answer.body[:300]!r}"
    assert answer.header("x-content-type-options") == "nosniff", name
    assert "frame-ancestors 'none'" in answer.header("content-security-policy"), name
    assert b"Traceback" not in answer.body and b"secret\x00" not in answer.body, name
    assert not any("\n" in value or "\r" in value for _, value in answer.headers), name
    if answer.status != 200:
        assert len(answer.body) < 2000, name


def test_odd_requests(small: SmallConsole, tmp_path: Path) -> None:
    app, rng, before = Access(small, listening(), OFTEN), random.Random(SEED), sorted(tmp_path.rglob("*"))

    async def run() -> set[int]:
        statuses = set()
        for number in range(REQUESTS):
            made = odd_requests.scope(rng, "http", OWN)
            answer = await asked(app, made=made, body=odd_requests.body(rng))
            require_sound(answer, f"request {number}: {made}")
            statuses.add(answer.status)
        return statuses

    assert asyncio.run(run()) >= {200, 400, 403, 404, 405, 413}  # all of it was reached
    assert sorted(tmp_path.rglob("*")) == before and len(small.reached) > 50


def test_odd_sockets(small: SmallConsole) -> None:
    app, rng = Access(small, listening(), OFTEN), random.Random(SEED)

    async def run() -> set[str]:
        kinds = set()
        for _ in range(SOCKETS):
            said = await talk(app, odd_requests.messages(rng), made=odd_requests.scope(rng, "websocket", OWN))
            assert said and all(message["type"].startswith("websocket.") for message in said)
            closes = [message["type"] for message in said].count("websocket.close")
            assert closes <= 1 and (closes == 0 or said[-1]["type"] == "websocket.close")
            kinds |= {message["type"] for message in said}
        return kinds

    assert asyncio.run(run()) == {"websocket.accept", "websocket.send", "websocket.close"}
    assert app.open_sockets == 0


def test_without_the_token_nothing_is_reached(small: SmallConsole) -> None:
    app, rng = Access(small, listening("0.0.0.0"), OFTEN), random.Random(SEED)
    own = [("host", "192.168.0.7:8080"), ("origin", "http://192.168.0.7:8080")]

    async def run() -> set[int]:
        statuses = set()
        for number in range(REQUESTS):
            made = odd_requests.scope(rng, "http", own)
            answer = await asked(app, made=made, body=odd_requests.body(rng))
            require_sound(answer, f"request {number}: {made}")
            statuses.add(answer.status)
            if number % 3 == 0:
                said = await talk(app, odd_requests.messages(rng), made=odd_requests.scope(rng, "websocket", own))
                assert [message["type"] for message in said] == ["websocket.close"]
        return statuses

    statuses = asyncio.run(run())
    assert 401 in statuses and not statuses & {200, 404}
    assert small.reached == []
