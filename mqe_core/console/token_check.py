"""Who is let in: whoever opened the link with the token has a cookie from then on."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
from collections.abc import Callable
from urllib.parse import parse_qs

from mqe_core.console.asgi import Scope, header
from mqe_core.console.listening import TOKEN, Listening
from mqe_core.console.rates import Rate, Rates, client_of
from mqe_core.console.refused import TOO_MANY, WRONG_TOKEN, Refused

log = logging.getLogger(__name__)

_MOST_FIELDS = 20  # of a query


class TokenCheck:
    """Compares tokens and cookies, in a time that does not tell how much of them is right.

    The cookie is made of the token, so nothing is kept for each browser, and it ends with the token.
    """

    def __init__(self, where: Listening, wrong: Rate, clock: Callable[[], float]) -> None:
        self._token, self._port = where.token, where.port
        self._wrong = Rates(wrong, clock)

    def cookie_for(self, scope: Scope) -> str | None:
        """The Set-Cookie header for whoever brings the token; None where he needs none, or has it already.

        Refused where he has neither token nor cookie, or was wrong too often. What is logged of the request later
        does not hold the token.
        """
        if self._token is None:
            return None
        given, has_cookie = self._given(scope), self._has_cookie(scope)
        if given is None:
            if has_cookie:
                return None
            raise Refused(
                "this console lets in whoever opens its link with the token; it was printed where the console was "
                "started, and is another one after each start",
                WRONG_TOKEN,
            )
        scope["query_string"] = b""
        client = client_of(scope)
        if wait_s := math.ceil(self._wrong.wait_s(client)):
            raise Refused(
                f"too many wrong tokens; try again in {wait_s} s",
                TOO_MANY,
                [(b"retry-after", str(wait_s).encode())],
            )
        if not _is_same(given, self._token):
            self._wrong.take(client)
            log.warning("%s brought a wrong token", client)
            raise Refused("a wrong token; open the link as it was printed where the console was started", WRONG_TOKEN)
        secure = "; Secure" if _is_secure(scope) else ""
        return f"{self._name(scope)}={self._proof()}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def _given(self, scope: Scope) -> str | None:
        """The token of the link; None where there is none in it."""
        if scope["type"] != "http":
            return None
        try:
            fields = parse_qs(scope["query_string"].decode("latin-1"), True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            return None
        return fields[TOKEN][0] if TOKEN in fields else None

    def _has_cookie(self, scope: Scope) -> bool:
        pairs = [pair.strip().partition("=") for value in header(scope, b"cookie") for pair in value.split(";")]
        name, proof = self._name(scope), self._proof()
        return any([_is_same(value, proof) for key, _, value in pairs if key == name])

    def _name(self, scope: Scope) -> str:
        """Browsers keep a cookie for a host, whatever its port, and two consoles may run on one."""
        return f"{'__Host-' if _is_secure(scope) else ''}mqe_console_{self._port}"

    def _proof(self) -> str:
        assert self._token is not None
        return hmac.new(self._token.encode(), b"the console's cookie", hashlib.sha256).hexdigest()


def _is_same(given: str, expected: str) -> bool:
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digests)


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")
