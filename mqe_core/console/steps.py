"""How far the goal was over the last while, by the policy's critic, as a figure."""

from __future__ import annotations

from collections import deque

from mqe_core.console.link import PolicyView
from mqe_core.files.svg import COLOURS, Line, chart
from mqe_core.policy.goal_progress import CLOSER

KEPT_S = 60.0


class StepsCurve:
    """Follows one policy's `steps_to_goal` from when the page was opened. Each goal begins anew.

    Args:
        reached: the steps up to which a goal counts as reached; unreachable: beyond which it is refused. None: none.
        stalls: whether a goal ends that does not come closer for long.
    """

    def __init__(self, reached: float | None, unreachable: float | None, stalls: bool) -> None:
        self._reached, self._unreachable, self._stalls = reached, unreachable, stalls
        self._points: deque[tuple[float, float]] = deque()  # (monotonic seconds, steps)
        self._goal = ""
        self._has_ended = False
        self._least: float | None = None

    def note(self, policy: PolicyView) -> None:
        """Take what a status says, once each; a goal's last steps stay until the next goal."""
        self._has_ended |= policy.state == "idle"
        if policy.state == "idle" or policy.steps_to_goal is None:
            return
        if self._has_ended or policy.goal != self._goal:
            self._points.clear()
            self._goal, self._has_ended, self._least = policy.goal, False, None
        if not self._points or policy.heard > self._points[-1][0]:
            self._points.append((policy.heard, policy.steps_to_goal))
            self._least = policy.steps_to_goal if self._least is None else min(self._least, policy.steps_to_goal)
        while self._points[-1][0] - self._points[0][0] > KEPT_S:
            self._points.popleft()

    @property
    def newest(self) -> float | None:
        """Steps; None where none are known."""
        return self._points[-1][1] if self._points else None

    @property
    def stalls_above(self) -> float | None:
        """Steps below which it counts as closer than ever; for too long above them, and the goal ends as stalled. None
        where no goal does, and where none are known.
        """
        return None if self._least is None or not self._stalls else CLOSER * self._least

    def svg(self) -> str:
        """The curve over the seconds before its newest point, with the thresholds dashed."""
        if not self._points:
            return ""
        end = self._points[-1][0]
        points = [(at - end, steps) for at, steps in self._points]
        first = min(points[0][0], -5.0)
        lines = [Line("steps to the goal", points, COLOURS[0], 2.0)]
        levels = (
            (f"reached ({self._reached:.1f})" if self._reached else "", self._reached, COLOURS[2]),
            ("stalls unless below", self.stalls_above, COLOURS[6]),
        )
        for label, level, colour in levels:
            if level:
                lines.append(Line(label, [(first, level), (0.0, level)], colour, dashed=True))
        top = max(steps for _, steps in points)
        if self._unreachable and self._unreachable < 2.0 * top:
            label = f"refused beyond {self._unreachable:.0f}"
            lines.append(Line(label, [(first, self._unreachable), (0.0, self._unreachable)], COLOURS[1], dashed=True))
        return chart(lines, "seconds before now", "control steps", width=560, height=230)
