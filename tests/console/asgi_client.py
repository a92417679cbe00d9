"""A browser for ASGI applications, in the same process: one request or one WebSocket, told in full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1:8080"


@dataclass
class Answer:
    """What came back; a status of 0 where nothing did."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) < 2, f"{name} comes twice"
        return found[0] if found else None

    @property
    def text(self) -> str:
        return self.body.decode()


def scope(kind: str, path: str, *, method: str = "GET", client: str = "127.0.0.1", scheme: str = "", **headers: str):
    """Of a request; an underscore in a header's name is a hyphen, and `host=""` leaves that header out."""
    named = {"host": HOST, **headers}
    path, _, query = path.partition("?")
    made = {
        "type": kind,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode(),
        "scheme": scheme or {"http": "http", "websocket": "ws"}[kind],
        "headers": [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in named.items() if v],
        "client": (client, 50000),
    }
    return {**made, "method": method} if kind == "http" else made


def ask(app, path: str = "/", **given) -> Answer:
    """`asked`, for tests that do not wait for anything else."""
    return asyncio.run(asked(app, path, **given))


async def asked(app, path: str = "/", *, body: Sequence[bytes] = (b"",), made=None, **given: str) -> Answer:
    """One request. `made`: its scope, where `given` does not say enough."""
    parts, answer = list(body), Answer()

    async def receive():
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            assert answer.status == 0, "a second answer"
            answer.status = message["status"]
            answer.headers = [(k.decode(), v.decode()) for k, v in message["headers"]]
        else:
            answer.body += message.get("body", b"")

    await app(made if made is not None else scope("http", path, **given), receive, send)
    return answer


async def talk(
    app,
    messages: Sequence[str | bytes] = (),
    path: str = "/ws",
    *,
    until: asyncio.Event | None = None,
    made=None,
    **given,
):
    """One WebSocket on which `messages` are sent, and which is left when `until` is set: all that was said on it."""
    waiting: list[dict] = [{"type": "websocket.connect"}]
    waiting += [{"type": "websocket.receive", "text" if isinstance(m, str) else "bytes": m} for m in messages]
    said: list[dict] = []

    async def receive():
        if not waiting and until is not None:
            await until.wait()
        return waiting.pop(0) if waiting else {"type": "websocket.disconnect", "code": 1001}

    async def send(message) -> None:
        said.append(message)

    await app(made if made is not None else scope("websocket", path, **given), receive, send)
    return said


class Echo:
    """An application that answers what it is told, and keeps what reached it."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope, receive, send) -> None:
        self.reached.append(scope["path"])
        if scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message.get("text") or "bytes"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the browser has gone")
            body, more = body + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"ALLOW")]})
        await send({"type": "http.response.body", "body": body})
