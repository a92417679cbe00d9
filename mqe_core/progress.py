"""Says of a pursued goal that it is reached, or that the arm is not getting closer, by the thresholds that the bundle carries.

The thresholds were measured at export (mqe_core/learning/calibration.py); a bundle without them, or without steps_to_goal, says nothing.
"""

from __future__ import annotations

import math

REACHED = "reached"
NOT_CLOSER = "not getting closer"
_CLOSER = 0.95  # of the closest so far is closer


class Stall:
    """Counts the commands since `steps_to_goal` last found a new minimum."""

    def __init__(self) -> None:
        self.commands = 0
        self._closest = math.inf

    def update(self, steps_to_goal: float) -> int:
        """Note one command; the count."""
        self.commands = 0 if steps_to_goal < _CLOSER * self._closest else self.commands + 1
        self._closest = min(self._closest, steps_to_goal)
        return self.commands


class Progress:
    """Follows `steps_to_goal` of one goal, one command at a time.

    Args:
        reached_steps: at most so far counts as there; None or 0 for never.
        stall_commands: so many commands in a row without coming closer; None for never.
        reached_in_a_row: commands that have to agree on "reached".
    """

    def __init__(self, reached_steps: float | None, stall_commands: int | None, reached_in_a_row: int = 3) -> None:
        self._reached_steps = reached_steps or 0.0
        self._stall_commands = stall_commands
        self._in_a_row = reached_in_a_row
        self._near = 0
        self._stall = Stall()

    def update(self, steps_to_goal: float | None) -> str | None:
        """Note one command; REACHED, NOT_CLOSER or None."""
        if steps_to_goal is None:
            return None
        # With a threshold of 0 no distance counts as reached, not even that of equal images.
        near = self._reached_steps > 0.0 and steps_to_goal <= self._reached_steps
        self._near = self._near + 1 if near else 0
        stalled = self._stall.update(steps_to_goal)
        if self._near >= self._in_a_row:
            return REACHED
        return NOT_CLOSER if not near and self._stall_commands is not None and stalled >= self._stall_commands else None
