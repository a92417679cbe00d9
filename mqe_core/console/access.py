"""The door before the console's page: ASGI middleware that passes on what may be answered, and refuses the rest.

It stands around the whole application, its library's own addresses too. In this order it looks at how often the client
asks, what it asks for and from which page (`plain_requests`), whether it is let in (`token_check`), whether there is
room for one more page, and how much it sends (`bounded_messages`). Every answer carries `security_headers`.
"""

from __future__ import annotations

import html
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mqe_core.console.asgi import App, Headers, Receive, Scope, Send
from mqe_core.console.bounded_messages import BoundedRequest, BoundedSocket, Bounds
from mqe_core.console.listening import Listening
from mqe_core.console.plain_requests import is_visit, require_plain
from mqe_core.console.rates import Rate, Rates, client_of
from mqe_core.console.refused import FULL, TOO_MANY, Refused
from mqe_core.console.security_headers import secured_words
from mqe_core.console.token_check import TokenCheck

log = logging.getLogger(__name__)

_NO_ENTRY = 1008  # RFC 6455, 7.4.1; before a WebSocket is accepted, a server makes it the status 403
_REFUSED_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mqe</title>'
    '<meta name="viewport" content="width=device-width"></head><body><h1>Not now</h1><p>{words}</p></body></html>'
)
# Not a redirect: after one, a browser that was led here by another site would keep the cookie to itself once more.
_LET_IN_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mqe</title>'
    '<meta http-equiv="refresh" content="0;url=/"></head><body><p><a href="/">Open the console</a></p></body></html>'
)


@dataclass(frozen=True)
class Limits:
    """How much is taken.

    Attributes:
        requests: of one client. A page asks for some fifty files, and for each of its pictures.
        wrong_tokens: of one client.
        pages: that are open at once, of all clients together.
        sockets_a_page: WebSockets that each page keeps open.
        bounds: of what is sent.
    """

    requests: Rate = Rate(at_once=3000, per_s=1000)
    wrong_tokens: Rate = Rate(at_once=5, per_s=1 / 12)
    pages: int = 8
    sockets_a_page: int = 2  # the library's own, and the one for pictures and keys
    bounds: Bounds = field(default_factory=Bounds)


class Access:
    """ASGI middleware. What it refuses never reaches `app`.

    Args:
        where: the server listens; only there its rules hold.
        clock: seconds that never go back.
    """

    def __init__(
        self, app: App, where: Listening, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._where, self._limits = app, where, limits or Limits()
        self._requests = Rates(self._limits.requests, clock)
        self._tokens = TokenCheck(where, self._limits.wrong_tokens, clock)
        self.open_sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:  # the start and the end of the server
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(refused: Refused) -> None:
            await _say(send, refused, is_page=is_visit(scope))

        try:
            cookie = self._admit(scope)
            if is_visit(scope):
                self._require_room()
        except Refused as refused:
            await answer(refused)
            return
        if cookie is not None:
            await _answer(send, 200, _LET_IN_PAGE, is_page=True, headers=[(b"set-cookie", cookie.encode())])
            return
        request = BoundedRequest(receive, send, self._limits.bounds, answer)
        try:
            await self._app(scope, request.receive, request.send)
        except Exception:
            if not request.is_over:  # else it only finds that the browser has gone
                raise

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._admit(scope)
            self._require_room()
        except Refused as refused:
            log.warning("a WebSocket of %s is refused: %s", client_of(scope), refused.words)
            await receive()
            await send({"type": "websocket.close", "code": _NO_ENTRY, "reason": ""})
            return
        socket = BoundedSocket(receive, send, self._limits.bounds)
        self.open_sockets += 1
        try:
            await self._app(scope, socket.receive, socket.send)
        except Exception as error:  # the library's own line raises on messages that are none: not worth pages of log
            log.warning("a WebSocket of %s ended: %s: %s", client_of(scope), type(error).__name__, error)
            log.debug("it was ended by", exc_info=error)
        finally:
            self.open_sockets -= 1

    def _admit(self, scope: Scope) -> str | None:
        """The cookie that the client is to keep, where it brought the token. Refused where it is not let in."""
        if not self._requests.take(client_of(scope)):
            raise Refused("too many requests; slow down", TOO_MANY, [(b"retry-after", b"1")])
        require_plain(scope, self._where)
        return self._tokens.cookie_for(scope)

    def _require_room(self) -> None:
        if self.open_sockets >= self._limits.pages * self._limits.sockets_a_page:
            raise Refused(
                f"{self._limits.pages} pages of the console are open, and there are no more; close one, and load this "
                "one again",
                FULL,
            )


async def _say(send: Send, refused: Refused, *, is_page: bool) -> None:
    words = refused.words[:1].upper() + refused.words[1:] + "."
    text = _REFUSED_PAGE.format(words=html.escape(words)) if is_page else words + "\n"
    await _answer(send, refused.status, text, is_page=is_page, headers=refused.headers)


async def _answer(send: Send, status: int, text: str, *, is_page: bool, headers: Headers) -> None:
    body = text.encode()
    kind = b"text/html; charset=utf-8" if is_page else b"text/plain; charset=utf-8"
    # The connection ends with it: what the client still sends is not waited for.
    said = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), (b"connection", b"close"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": secured_words(said)})
    await send({"type": "http.response.body", "body": body})
