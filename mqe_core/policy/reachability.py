"""Whether a goal can be reached at all, by the threshold of `steps_to_goal` that the bundle carries.

The threshold is measured at export (`mqe_core/learning/export/calibration.py`). Without it, or without steps_to_goal,
nothing is said.
"""

from __future__ import annotations

import math

FAR = "far_goal"  # nothing is to be sent yet
UNREACHABLE = "unreachable_goal"  # nothing more is to be sent
# Answers, each on a picture of its own: a hand before the lens or a blurred frame is seldom in three in a row, which
# take 0.6 s at 5 Hz. So many calls it reached, too (`reached_in_a_row`).
IN_A_ROW = 3


class Reachability:
    """Follows `steps_to_goal` of one goal, one picture at a time, before the command that was made of it is sent.

    Until one answer is within the threshold nothing may be sent: so the arm does not move towards what is refused.
    IN_A_ROW answers beyond it, then or later, refuse the goal for good.

    Args:
        unreachable_steps: steps_to_goal beyond which a goal counts as one of another scene; None: none does.
    """

    def __init__(self, unreachable_steps: float | None) -> None:
        self._threshold = math.inf if unreachable_steps is None else unreachable_steps
        self._beyond = 0
        self._may_move = False

    def update(self, steps_to_goal: float | None) -> str | None:
        """Note one answer; returns UNREACHABLE, FAR or None. NaN and negative numbers say nothing."""
        if self._beyond >= IN_A_ROW:
            return UNREACHABLE
        is_beyond = steps_to_goal is not None and steps_to_goal > self._threshold
        self._beyond = self._beyond + 1 if is_beyond else 0
        if self._beyond >= IN_A_ROW:
            return UNREACHABLE
        self._may_move = self._may_move or not is_beyond
        return None if self._may_move else FAR
