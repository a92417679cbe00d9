"""One goal in force: what it wants, how far it got, and the moment it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from rclpy.action.server import ServerGoalHandle

from mqe_core.files.bounded import shortened
from mqe_core.policy.goal_progress import Progress
from mqe_interfaces.action import ReachGoal

_NAME_BYTES = 100  # a file's name may hold anything


class GoalRun:
    """Pursuit of one goal image, from the request to exactly one outcome.

    `end` may be called from any thread; the first call counts.

    Args:
        name: for people.
        image: (H, W, 3) uint8 RGB.
        domain: what the image shows, `sim` or `real`.
        timeout_s: seconds until it ends as timeout; None for no end.
        on_end: called once, with the result.
        handle: of the action client that asked for it, if one did.
        anyway: pursue it also where it would be refused as unreachable.
    """

    def __init__(
        self,
        name: str,
        image: np.ndarray,
        domain: str,
        timeout_s: float | None,
        on_end: Callable[[ReachGoal.Result], None],
        handle: ServerGoalHandle | None = None,
        anyway: bool = False,
    ) -> None:
        self.name, self.image, self.domain = shortened(name, _NAME_BYTES), image, domain
        self.handle, self.anyway = handle, anyway
        self.applied = False  # whether the policy pursues it already
        self.progress = Progress(None, None)  # the node's, from when it is applied
        self.steps = 0  # commands sent
        self.refused, self.refusal = 0, ""  # how many of them the arm refused, and why the newest one
        self.steps_to_goal: float | None = None
        self._begun = time.monotonic()
        self._deadline = None if timeout_s is None else self._begun + timeout_s
        self._on_end = on_end
        self._lock = threading.Lock()
        self.result: ReachGoal.Result | None = None

    @property
    def overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def steps_taken(self) -> int:
        """Commands that the arm did not refuse, as far as is known."""
        return max(0, self.steps - self.refused)

    def count_step(self, steps_to_goal: float | None) -> str | None:
        """Note one command; what `progress` says of it."""
        self.steps += 1
        self.steps_to_goal = steps_to_goal
        return self.progress.update(steps_to_goal)

    def with_nearest(self, reason: str) -> str:
        """The reason, and how near the arm came where the critic said so."""
        return "; ".join(filter(None, (reason, self.progress.nearest_in_words)))

    def end(self, outcome: str, reason: str) -> None:
        with self._lock:
            if self.result is not None:
                return
            if self.refused:
                reason = f"{reason}; {self.refused} of {self.steps} commands were refused"
                reason += f"; {self.refusal}" if self.refusal else ""
            self.result = ReachGoal.Result(
                outcome=outcome,
                reason=reason,
                steps=self.steps_taken,
                seconds=time.monotonic() - self._begun,
                steps_to_goal=float("nan") if self.steps_to_goal is None else self.steps_to_goal,
            )
        self._on_end(self.result)
