"""The page's own line: beats and pictures to it, its operator's hand from it, over one WebSocket.

A picture is sent when the page has drawn the last one, and always the newest: a slow page sees fewer, and none late.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from mqe_core.console.hands import BEAT_S, NO_HAND, Beats, Hand, Hands
from mqe_core.console.link import CAMERA, GOAL, REFERENCE
from mqe_core.console.pictures import JpegPictures
from mqe_core.files.text import parse_json

PICTURES = (CAMERA, GOAL, REFERENCE)  # by the number that is a picture's first byte
_LOOK_S = 0.012  # between two looks for a newer picture
_MOST_BYTES = 4096  # of a message from the page
_NO_ANSWER_S = 2.0  # for a picture's arrival; after that the next one is sent all the same
_BAD_MESSAGES = 100  # of one page, before it is sent away
POLICY_VIOLATION = 1008  # WebSocket's code for it


class Live:
    """Serves `/live`, one call for each page."""

    def __init__(self, pictures: JpegPictures, hands: Hands) -> None:
        self._pictures, self._hands = pictures, hands

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        page = _Page(socket, self._pictures, self._hands)
        sending = asyncio.create_task(page.send())
        try:
            await page.listen()
        except WebSocketDisconnect:
            pass
        finally:
            page.let_go()
            sending.cancel()


class _Page:
    def __init__(self, socket: WebSocket, pictures: JpegPictures, hands: Hands) -> None:
        self._socket, self._pictures, self._hands = socket, pictures, hands
        self._hand: Hand | None = None
        self._why_not = NO_HAND
        self._beats = Beats()
        self._awaited: float | None = None  # when the picture was sent that has not arrived yet
        self._sent = dict.fromkeys(PICTURES, 0)
        self._turn = 0  # whose picture is looked at first: a quick camera must not keep the goal from a slow page
        self._bad = 0

    async def send(self) -> None:
        """Beats, and pictures between them, until it is cancelled or the page is gone."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + BEAT_S
                await self._socket.send_json({"beat": self._beats.send(now), "hand": self._why_not})
            if self._awaited is None or now - self._awaited > _NO_ANSWER_S:
                await self._send_picture()
            await asyncio.sleep(_LOOK_S)

    async def _send_picture(self) -> None:
        """One that the page does not have yet."""
        for place in (self._turn, *(other for other in range(len(PICTURES)) if other != self._turn)):
            name = PICTURES[place]
            if self._pictures.number(name) in (0, self._sent[name]):
                continue
            try:
                newest = await asyncio.to_thread(self._pictures.newest, name)
            except ValueError:  # the policy's status says what is wrong with it
                self._sent[name] = self._pictures.number(name)
                continue
            if newest is not None:
                self._sent[name], jpeg = newest
                self._awaited, self._turn = time.monotonic(), (place + 1) % len(PICTURES)
                await self._socket.send_bytes(bytes([place]) + jpeg)
                return

    async def listen(self) -> None:
        """What the page says, until it is gone or says too much that nobody understands."""
        while self._bad < _BAD_MESSAGES:
            said = await self._socket.receive()
            if said["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(said["code"])
            try:
                self._hear(_message(said.get("text") or ""))  # bytes are nothing that a page says
            except ValueError as error:
                self._bad, self._why_not = self._bad + 1, str(error)
                if self._hand is not None:
                    self._hands.doubt(self._hand, str(error))
        await self._socket.close(POLICY_VIOLATION)

    def _hear(self, said: dict[str, Any]) -> None:
        if "got" in said:
            self._awaited = None
        if "hand" not in said:
            return
        if said["hand"] is None:
            self.let_go()
        elif isinstance(said["hand"], dict):
            if self._hand is None:
                self._hand = self._hands.join(self._beats)
            self._why_not = self._hands.hear(self._hand, said["hand"], time.monotonic())
        else:
            raise ValueError("a hand is a mapping, or null")

    def let_go(self) -> None:
        """The page's hand counts no more."""
        if self._hand is not None:
            self._hands.leave(self._hand)
            self._hand, self._why_not = None, NO_HAND


def _message(text: str) -> dict[str, Any]:
    if len(text) > _MOST_BYTES:
        raise ValueError(f"a message of {len(text)} letters, at most {_MOST_BYTES} are read")
    said = parse_json(text, "the page's message")
    if not isinstance(said, dict):
        raise ValueError("a message of the page is a mapping")
    return said
