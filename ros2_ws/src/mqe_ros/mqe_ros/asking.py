"""Asking a service or an action's server until it answers.

A server that has not discovered its client yet answers into nothing. The client cannot see that: `service_is_ready`
and `server_is_ready` tell only that the client has discovered the server. On a busy machine that happens once in some
hundred graphs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future

# Of requests and answers, at both ends: rclpy's ten lose what comes at once.
ANSWERED = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
_AGAIN_S = 2.0  # and then twice as long each time: a slow server is not flooded


def answer(
    ask: Callable[[], Future], listen: Callable[[], None], timeout_s: float, what: str, *, only_newest: bool = False
):
    """The result of `ask()`, which is asked again after a while; only for questions that may be put twice.

    Args:
        ask: puts the question, to a server that is ready.
        listen: spins the executor for a moment.
        timeout_s: s, in all. TimeoutError with `what` after that.
        only_newest: an answer to an earlier asking does not count: of two goals, the later one runs.
    """
    end, patience = time.monotonic() + timeout_s, _AGAIN_S
    asked: list[Future] = []
    while time.monotonic() < end:
        asked.append(ask())
        again, patience = time.monotonic() + patience, 2.0 * patience
        while time.monotonic() < min(again, end):
            listen()
            for future in asked[-1:] if only_newest else asked:
                if future.done():
                    return future.result()
    raise TimeoutError(f"{what} did not come within {timeout_s:.0f} s")
