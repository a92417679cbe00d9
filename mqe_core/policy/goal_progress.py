"""Whether the goal is reached, or the arm is not getting closer, by the thresholds that the bundle carries.

The thresholds are measured at export (`mqe_core/learning/export/calibration.py`). Without them, or without
steps_to_goal, nothing is said.
"""

from __future__ import annotations

import math

REACHED = "reached"
NOT_CLOSER = "not getting closer"
CLOSER = 0.95  # of the smallest distance so far, or less, counts as closer


class Stall:
    """Counts the commands since `steps_to_goal` last found a new minimum."""

    def __init__(self) -> None:
        self.commands = 0
        self.closest = math.inf  # the least distance so far

    def update(self, steps_to_goal: float) -> int:
        """Note one command; returns the count."""
        closer = _is_distance(steps_to_goal) and steps_to_goal < CLOSER * self.closest
        self.commands = 0 if closer else self.commands + 1
        if _is_distance(steps_to_goal):
            self.closest = min(self.closest, steps_to_goal)
        return self.commands


class Progress:
    """Follows `steps_to_goal` of one goal, one command at a time.

    Args:
        reached_steps: steps_to_goal up to which the arm is there; None or 0: it never is.
        stall_commands: so many commands in a row without coming closer are no progress; None disables.
        reached_in_a_row: so many commands in a row must find the arm there; from 1.
    """

    def __init__(self, reached_steps: float | None, stall_commands: int | None, reached_in_a_row: int = 3) -> None:
        if reached_in_a_row < 1:
            raise ValueError(f"reached_in_a_row must be at least 1, got {reached_in_a_row}")
        self._reached_steps = reached_steps or 0.0
        self._stall_commands = stall_commands
        self._in_a_row = reached_in_a_row
        self._near = 0
        self._stall = Stall()

    @property
    def nearest_in_words(self) -> str:
        """The least distance so far and what counts as reached, for people; empty where there was none."""
        if self._stall.closest == math.inf:
            return ""
        told = f"at the nearest {self._stall.closest:.3g} steps to the goal"
        if not self._reached_steps:
            return told
        return f"{told}, where {self._reached_steps:.3g} for {self._in_a_row} commands count as reached"

    def update(self, steps_to_goal: float | None) -> str | None:
        """Note one command; returns REACHED, NOT_CLOSER or None."""
        if steps_to_goal is None:
            return None
        # With a threshold of 0 no distance counts as reached, not even that of equal images.
        near = self._reached_steps > 0.0 and _is_distance(steps_to_goal) and steps_to_goal <= self._reached_steps
        self._near = self._near + 1 if near else 0
        stalled = self._stall.update(steps_to_goal)
        if self._near >= self._in_a_row:
            return REACHED
        return NOT_CLOSER if not near and self._stall_commands is not None and stalled >= self._stall_commands else None


def _is_distance(steps_to_goal: float) -> bool:
    """Whether it can be one: a negative number, NaN or infinity says nothing about how near the goal is."""
    return 0.0 <= steps_to_goal < math.inf
