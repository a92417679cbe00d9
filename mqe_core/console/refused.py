"""Why a request is not passed on to the page: words for a person, and the status that says it to a program."""

from __future__ import annotations

from mqe_core.console.asgi import Headers

NOT_PLAIN, WRONG_TOKEN, NOT_OURS, NOT_SUCH = 400, 401, 403, 405
TOO_SLOW, TOO_LARGE, TOO_LONG, TOO_MANY, FULL = 408, 413, 414, 429, 503


class Refused(Exception):
    """A request that goes no farther.

    Attributes:
        words: what is wrong, and what to do.
        status: of HTTP.
        headers: that the answer carries besides.
    """

    def __init__(self, words: str, status: int, headers: Headers = ()) -> None:
        super().__init__(words)
        self.words, self.status, self.headers = words, status, headers
