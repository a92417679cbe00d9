"""Answers leave a node a few at a time: a client that asked many times at once keeps only its newest ten.

That is rclpy's default at the client, which no server can change. What arrives there beyond it, before the client
listens, is lost without a word. So many answers of one service are spread over time, in the order of the questions.

What waits is kept here and not in coroutines: rclpy's executor looks at each coroutine before each new message, so that
hundreds of them would take all of its time.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.service import Service

_AT_ONCE = 5  # answers
_APART_S = 0.02  # those after them: a client may look away for 0.1 s
_WAIT_S = 1.0  # for its turn, where they come faster than that: some may get lost then, and none waits for long
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)

Answer = Callable[[], object]


class Pace:
    """Of one node's answers, each service by itself. For the executor's thread."""

    def __init__(self) -> None:
        self._node: Node | None = None
        self._gone: dict[str, deque[float]] = {}  # by service, when its newest answers left, monotonic s
        self._waiting: dict[str, deque[Answer]] = {}

    def begin(self, node: Node) -> None:
        """Until then answers leave at once."""
        self._node = node
        self._timer = node.create_timer(_APART_S, self._release, clock=_STEADY)
        self._timer.cancel()

    def keep(self, service: Service) -> None:
        """From now on its answers leave at this pace."""
        send, name = service.send_response, service.srv_name

        def send_in_turn(response: Any, header: Any) -> None:
            self._give(name, lambda: send(response, header))

        service.send_response = send_in_turn  # type: ignore[method-assign]

    def _give(self, service: str, answer: Answer) -> None:
        if self._node is None or self._may_leave(service):
            answer()
            return
        self._waiting.setdefault(service, deque()).append(answer)
        if self._timer.is_canceled():
            self._timer.reset()

    def _may_leave(self, service: str) -> bool:
        """Whether one may leave now; then it counts as gone."""
        now, gone = time.monotonic(), self._gone.setdefault(service, deque(maxlen=_AT_ONCE))
        if self._waiting.get(service) or (len(gone) == _AT_ONCE and now - gone[0] < _AT_ONCE * _APART_S):
            return False
        gone.append(now)
        return True

    def _release(self) -> None:
        """One of each service that waits; several, where one at a time would take too long."""
        for service, waiting in list(self._waiting.items()):
            self._gone[service].append(time.monotonic())
            for _ in range(math.ceil(len(waiting) * _APART_S / _WAIT_S)):
                with contextlib.suppress(InvalidHandle):  # a service that has been destroyed since
                    waiting.popleft()()
            if not waiting:
                del self._waiting[service]
        if not self._waiting:
            self._timer.cancel()
