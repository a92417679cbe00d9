"""How arm_node's and policy_node's messages read on a terminal, and the line that follows a goal."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from mqe_interfaces.action import ReachGoal
    from mqe_interfaces.msg import ArmStatus, PolicyStatus

_LINE_S = 3.0  # between two lines where the output is no terminal


def state_and_reason(said: ArmStatus | PolicyStatus | ReachGoal.Feedback) -> str:
    return f"{said.state}: {said.reason}" if said.reason else said.state


def distance(steps_to_goal: float) -> str:
    """`, 7.0 steps to the goal`; empty where that is not known (NaN)."""
    return "" if math.isnan(steps_to_goal) else f", {steps_to_goal:.1f} steps to the goal"


class ProgressLine:
    """One goal's progress. On a terminal one line is written again and again; elsewhere a line comes now and then.

    Args:
        arm: what arm_node says, the newest last.
        out: where to write.
    """

    def __init__(self, arm: Sequence[ArmStatus], out: TextIO) -> None:
        self._arm, self._out = arm, out
        self._terminal = out.isatty()
        self._shown_at, self._shown = -math.inf, ("", "", False)
        self._open_line = False

    def show(self, said: ReachGoal.Feedback) -> None:
        from mqe_interfaces.msg import PolicyStatus

        # A reason while it runs is why the arm refuses what it sends.
        is_refused = said.state == PolicyStatus.RUNNING and bool(said.reason)
        hindrance = "" if is_refused else self.hindrance()
        state, now = (said.state, hindrance, is_refused), time.monotonic()
        if not self._terminal and state == self._shown and now - self._shown_at < _LINE_S:
            return
        self._shown_at, self._shown = now, state
        text = f"{hindrance}{state_and_reason(said)}{distance(said.steps_to_goal)}, command {said.steps}"
        if self._terminal:
            self._out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
            self._out.flush()
            self._open_line = True
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if self._open_line:
            self._out.write("\n")
            self._open_line = False
        self._out.write(f"{text}\n")
        self._out.flush()

    def hindrance(self) -> str:
        """Why the arm follows nobody, or empty. policy_node tells only what the arm refuses of its own commands."""
        arm = self._arm[-1] if self._arm else None
        if arm is None:
            return ""
        if arm.state in (arm.HELD, arm.FAULT):
            return f"the arm is {state_and_reason(arm)}; "
        return "DRY RUN; " if arm.dry_run else ""
