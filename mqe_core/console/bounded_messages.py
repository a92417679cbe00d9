"""What a browser sends, in bounds: a body's size and time, a WebSocket's messages in size and number.

What goes beyond is answered here, and the application hears that the browser has gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mqe_core import images
from mqe_core.console.asgi import Message, Receive, Send
from mqe_core.console.rates import Rate, Rates
from mqe_core.console.refused import TOO_LARGE, TOO_SLOW, Refused
from mqe_core.console.security_headers import secured

_GONE_TOO_LARGE, _GONE_TOO_MANY = 1009, 1008  # RFC 6455, 7.4.1
_PATIENCE = 4  # so many times as much as is taken
_GONE: Message = {"type": "http.disconnect"}


@dataclass(frozen=True)
class Bounds:
    """Of what is sent. Sizes in bytes; of a body, which is a picture at most, with the form around it."""

    body_bytes: int = images.FRAME_BYTES + 2**16
    body_s: float = 60.0
    message_bytes: int = 2**18
    messages: Rate = Rate(at_once=600, per_s=300)  # of one page: keys and sticks, at the rate of its screen


class BoundedRequest:
    """Hands on a request's body and the answer to it; answers itself where the body is too large or comes too slowly.

    Args:
        answer: sends words in the application's place.
    """

    def __init__(
        self, receive: Receive, send: Send, bounds: Bounds, answer: Callable[[Refused], Awaitable[None]]
    ) -> None:
        self._receive, self._send, self._bounds, self._answer = receive, send, bounds, answer
        self._bytes, self._is_whole, self._end = 0, False, time.monotonic() + bounds.body_s
        self._has_begun = False
        self.is_over = False  # the browser has its answer from here

    async def receive(self) -> Message:
        """For the application."""
        if self.is_over:
            return _GONE
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except asyncio.TimeoutError:
            return await self._give_up(Refused(f"a request that takes longer than {self._bounds.body_s:g} s", TOO_SLOW))
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._bytes > self._bounds.body_bytes:
                return await self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """For the application."""
        if self.is_over:
            return
        if message["type"] == "http.response.start":
            self._has_begun = True
            message = {**message, "headers": secured(message.get("headers", ()))}
        await self._send(message)

    async def _too_large(self) -> Message:
        """A browser that still sends does not read the answer, so some more is taken and thrown away before."""
        most = _PATIENCE * self._bounds.body_bytes
        while not self._is_whole and self._bytes <= most and time.monotonic() < self._end:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
        most_mb = self._bounds.body_bytes / 1e6
        return await self._give_up(Refused(f"more than {most_mb:.0f} MB were sent; pictures are smaller", TOO_LARGE))

    async def _give_up(self, refused: Refused) -> Message:
        if not self._has_begun:
            self.is_over = True
            await self._answer(refused)
        return _GONE


class BoundedSocket:
    """Hands on a WebSocket's messages; closes it where one is too large, or too many come."""

    def __init__(self, receive: Receive, send: Send, bounds: Bounds) -> None:
        self._receive, self._send, self._most = receive, send, bounds.message_bytes
        self._rates = Rates(bounds.messages, time.monotonic)
        self._closed: Message | None = None

    async def receive(self) -> Message:
        """For the application."""
        if self._closed is not None:
            return self._closed
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        size = len(message.get("bytes") or b"") + len((message.get("text") or "").encode("utf-8", "surrogatepass"))
        if size > self._most:
            return await self._close(_GONE_TOO_LARGE, f"a message of more than {self._most} bytes")
        if not self._rates.take(""):
            return await self._close(_GONE_TOO_MANY, "too many messages")
        return message

    async def send(self, message: Message) -> None:
        """For the application."""
        if self._closed is None:
            await self._send(message)

    async def _close(self, code: int, words: str) -> Message:
        self._closed = {"type": "websocket.disconnect", "code": code, "reason": words}
        await self._send({"type": "websocket.close", "code": code, "reason": words})
        return self._closed
