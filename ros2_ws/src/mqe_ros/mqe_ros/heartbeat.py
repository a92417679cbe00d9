"""Whether this process stood still: what it hears right after that may have waited in the middleware just as long."""

from __future__ import annotations

import math


class Heartbeat:
    """One thread beats, others ask. Times are seconds of one monotonic clock.

    Args:
        limit_s: a longer pause between two beats is a standstill, and what is heard so soon after its end may be older
            than it.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._newest = math.inf  # none yet
        self._standstill = (-math.inf, -math.inf)  # the latest one's begin and end

    def beat(self, now: float) -> None:
        if now - self._newest > self._limit_s:
            self._standstill = self._newest, now
        self._newest = now  # last: who asks in between still sees the pause

    def earliest_arrival(self, now: float) -> float:
        """When a message that is heard `now` may have come."""
        newest, (begin, end) = self._newest, self._standstill
        if now - newest > self._limit_s:
            return newest
        return begin if now - end < self._limit_s else now
