"""The pictures of goals and recordings for the page's own elements: plain ASGI, to be mounted under `/files`.

    GET goals/NAME              a goal's picture, JPEG
    GET goals/NAME/thumbnail
    GET recordings/NAME/EPISODE/PICTURE     one picture of an episode; -1 is the last
    GET recordings/NAME/EPISODE/thumbnail

What cannot be shown is answered with its reason, as text. Pictures are made in threads, a few at a time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from mqe_core import images
from mqe_core.console.asgi import Receive, Scope, Send
from mqe_core.console.goals_folder import GoalsFolder
from mqe_core.console.recordings import Recordings

_AT_ONCE = 2
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_THUMBNAIL = "thumbnail"


class FileRoutes:
    """An ASGI application."""

    def __init__(self, goals: GoalsFolder, recordings: Recordings) -> None:
        self._goals, self._recordings = goals, recordings
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        make = self._maker(path.strip("/").split("/")) if scope["method"] in ("GET", "HEAD") else None
        if make is None:
            await _answer(send, 404, b"text/plain; charset=utf-8", b"there is no such picture\n")
            return
        try:
            async with self._turns:
                picture = await asyncio.to_thread(make)
        except (ValueError, OSError) as error:
            await _answer(send, 404, b"text/plain; charset=utf-8", f"{error}\n".encode("utf-8", "backslashreplace"))
            return
        await _answer(send, 200, b"image/jpeg", picture)

    def _maker(self, parts: list[str]) -> Callable[[], bytes] | None:
        """What makes the picture; None where the address names none."""
        if parts[0] == "goals" and len(parts) == 2:
            return lambda: images.encode_jpeg(self._goals.read(parts[1]).image)
        if parts[0] == "goals" and len(parts) == 3 and parts[2] == _THUMBNAIL:
            return lambda: self._goals.thumbnail(parts[1])
        if parts[0] != "recordings" or len(parts) != 4 or not _NUMBER.fullmatch(parts[2]):
            return None
        if parts[3] == _THUMBNAIL:
            return lambda: self._recordings.thumbnail(parts[1], int(parts[2]))
        if not _NUMBER.fullmatch(parts[3]):
            return None
        return lambda: self._recordings.jpeg(parts[1], int(parts[2]), int(parts[3]))


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
