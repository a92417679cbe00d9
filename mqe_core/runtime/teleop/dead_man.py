"""When an operator's hand counts: while the dead-man is held, is heard of, and was seen released before.

Of times only the moments of receipt count, on the clock of this process: whatever a pad's driver stamps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.runtime.teleop.pad import Reading

RELEASE_FIRST = "release the dead-man, and press it again"


@dataclass(frozen=True, eq=False)
class Wish:
    """What the operator wants now: to have the arm or not (`why_not` says why), and the motion (6,), each −1 to 1."""

    engaged: bool
    motion: Floats
    why_not: str


class DeadMan:
    """Follows the readings of one pad.

    A pad that was lost and comes back, a message that is none, and a press that began before this process did count
    only once the dead-man was seen released: nobody knows what the hand did meanwhile.

    Args:
        max_age_s: s; a reading that was received longer ago is lost.
        whose: who tells the readings, for people.
    """

    def __init__(self, max_age_s: float, whose: str = "the pad") -> None:
        self._max_age_s, self._whose = max_age_s, whose
        self._newest: Reading | None = None
        self._heard = -np.inf
        self._trouble = ""
        self._must_release = True

    def hear(self, reading: Reading, now: float) -> frozenset[str]:
        """Note a reading that was received at `now`, monotonic seconds. Returns the acts whose buttons were not pressed
        before it; of the first one, and of the first after a loss, none.
        """
        was_lost = now - self._heard > self._max_age_s
        if was_lost:
            self._must_release = True
        if not reading.dead_man:
            self._must_release = False
        last = None if was_lost else self._newest
        self._newest, self._heard, self._trouble = reading, now, ""
        return reading.down - last.down if last is not None else frozenset()

    def doubt(self, trouble: str) -> None:
        """Note that what came cannot be trusted; the next press of the dead-man counts."""
        self._trouble, self._must_release = trouble, True

    def wish(self, now: float) -> Wish:
        """What counts at `now`."""
        why_not = self._why_not(now)
        newest = self._newest
        if why_not or newest is None:
            return Wish(False, np.zeros(6), why_not)
        return Wish(True, newest.motion, "")

    def _why_not(self, now: float) -> str:
        if self._trouble:
            return self._trouble
        if self._newest is None:
            return f"nothing heard from {self._whose} yet"
        if now - self._heard > self._max_age_s:
            return f"nothing heard from {self._whose} for {self._max_age_s} s"
        if not self._newest.dead_man:
            return "the dead-man is not held"
        return RELEASE_FIRST if self._must_release else ""
