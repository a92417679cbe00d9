"""Whether a request may be answered at all, whoever asks: what it names, and which page it comes from."""

from __future__ import annotations

import re

from mqe_core.console.asgi import Scope, header
from mqe_core.console.listening import Listening
from mqe_core.console.refused import NOT_OURS, NOT_PLAIN, NOT_SUCH, TOO_LONG, Refused

_READS = ("GET", "HEAD")
_METHODS = (*_READS, "POST")
_MOST_PATH_BYTES = 2048
_NOT_IN_PATHS = re.compile(r"[\x00-\x1f\x7f\\]|/\.{1,2}(/|$)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SAFE_SITES = ("same-origin", "none")


def require_plain(scope: Scope, where: Listening) -> None:
    """Refused where the request names no page of this host, or comes from a page of another one."""
    _require_path(scope)
    is_socket = scope["type"] == "websocket"
    method = "GET" if is_socket else scope["method"]
    if method not in _METHODS:
        words = ", ".join(_METHODS)
        raise Refused(f"the console answers {words}, and no other method", NOT_SUCH, [(b"allow", words.encode())])
    host = _require_host(scope, where)
    _require_own_page(scope, host, must_say=is_socket or method not in _READS)


def is_visit(scope: Scope) -> bool:
    """Whether a person opens a page, and not a page something that belongs to it."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and header(scope, b"sec-fetch-mode")[:1] in ([], ["navigate"])
        and any("text/html" in value for value in header(scope, b"accept"))
    )


def _require_path(scope: Scope) -> None:
    raw = scope.get("raw_path") or b""
    if max(len(raw), len(scope["path"])) > _MOST_PATH_BYTES or len(scope["query_string"]) > _MOST_PATH_BYTES:
        raise Refused(f"an address of more than {_MOST_PATH_BYTES} letters", TOO_LONG)
    if not scope["path"].startswith("/") or _NOT_IN_PATHS.search(scope["path"]):
        raise Refused("an address with .., a backslash or unprintable letters in it names nothing here", NOT_PLAIN)


def _require_host(scope: Scope, where: Listening) -> str:
    """The host by which the console was asked, in lower case, without the port that goes without saying."""
    given = header(scope, b"host")
    if len(given) != 1:
        raise Refused(f"a request has one Host header, this one has {len(given)}", NOT_PLAIN)
    if not where.is_own(given[0]):
        raise Refused(
            "the console is not known by the name that it was asked by; open the link that was printed where it was "
            "started, or give it that name there",
            NOT_OURS,
        )
    return given[0].lower().removesuffix(_DEFAULT_PORTS[_scheme(scope)])


def _require_own_page(scope: Scope, host: str, must_say: bool) -> None:
    """A browser says which page asks: with what is written and with WebSockets in Origin, else in Sec-Fetch-Site."""
    origins = header(scope, b"origin")
    own = f"{_scheme(scope)}://{host}"
    if (must_say and not origins) or any(_plain(origin) != own for origin in origins):
        raise Refused(
            "the request comes from another page than the console's own (its Origin is "
            f"{'missing' if not origins else 'another one'})",
            NOT_OURS,
        )
    sites = header(scope, b"sec-fetch-site")
    is_link = header(scope, b"sec-fetch-mode") == ["navigate"] and header(scope, b"sec-fetch-dest") == ["document"]
    if not all(site in _SAFE_SITES for site in sites) and not (is_link and not must_say):
        raise Refused("a page of another site asks for something of the console (its Sec-Fetch-Site says so)", NOT_OURS)


def _scheme(scope: Scope) -> str:
    return "https" if scope.get("scheme") in ("https", "wss") else "http"


def _plain(origin: str) -> str:
    """Without the port that goes without saying."""
    scheme, _, rest = origin.lower().partition("://")
    return f"{scheme}://{rest.removesuffix(_DEFAULT_PORTS.get(scheme, ' '))}"
