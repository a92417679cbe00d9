"""Answers leave a node a few at a time: a client that asked many times at once keeps only its newest ten.

That is rclpy's default at the client, which no server can change. What arrives there beyond it, before the client
listens, is lost without a word. So many answers of one service are spread over time, in the order of the questions.
"""

from __future__ import annotations

import time
from collections import deque

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

_AT_ONCE = 5  # answers
_APART_S = 0.02  # those after them: a client may look away for 0.1 s
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class Pace:
    """Of one node's answers, each service by itself. For the executor's thread."""

    def __init__(self) -> None:
        # What waits for its turn would keep all else of a usual group waiting, the timer that ends it too.
        self.group = ReentrantCallbackGroup()
        self._node: Node | None = None
        self._gone: dict[str, deque[float]] = {}  # by service, when its newest answers left, monotonic s
        self._waiting: dict[str, deque[Future]] = {}

    def begin(self, node: Node) -> None:
        """Until then answers leave at once."""
        self._node = node
        self._timer = node.create_timer(_APART_S, self._release, self.group, clock=_STEADY)
        self._timer.cancel()

    async def turn(self, service: str) -> None:
        """Wait until the next answer of that service may leave."""
        if self._node is None or self._may_leave(service):
            return
        future: Future = Future(executor=self._node.executor)
        self._waiting.setdefault(service, deque()).append(future)
        self._timer.reset()
        await future

    def _may_leave(self, service: str) -> bool:
        """Whether one may leave now; then it counts as gone."""
        now, gone = time.monotonic(), self._gone.setdefault(service, deque(maxlen=_AT_ONCE))
        if self._waiting.get(service) or (len(gone) == _AT_ONCE and now - gone[0] < _AT_ONCE * _APART_S):
            return False
        gone.append(now)
        return True

    def _release(self) -> None:
        """One of each service that waits."""
        for service, waiting in list(self._waiting.items()):
            self._gone[service].append(time.monotonic())
            waiting.popleft().set_result(None)
            if not waiting:
                del self._waiting[service]
        if not self._waiting:
            self._timer.cancel()
