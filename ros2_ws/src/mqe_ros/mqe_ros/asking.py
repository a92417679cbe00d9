"""Asking a service or an action's server until it answers.

A server that has not discovered its client yet answers into nothing. The client cannot see that: `service_is_ready` and
`server_is_ready` tell only that the client has discovered the server. On a busy machine that happens once in some hundred graphs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.task import Future

_AGAIN_S = 2.0


def answer(ask: Callable[[], Future], listen: Callable[[], None], timeout_s: float, what: str):
    """The result of `ask()`, which is asked again every 2 s; only for questions that may be put twice.

    Args:
        ask: puts the question, to a server that is ready. Only the newest asking's answer counts: of two goals, the later one runs.
        listen: spins the executor for a moment.
        timeout_s: s, in all. TimeoutError with `what` after that.
    """
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        future, again = ask(), time.monotonic() + _AGAIN_S
        while time.monotonic() < min(again, end):
            listen()
            if future.done():
                return future.result()
    raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")
