"""How far the goal is, as a number and as a curve with its thresholds."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.console import Thresholds
from mqe_core.console.link import Snapshot
from mqe_core.console.steps import StepsCurve

_DRAW_S = 0.5


class StepsCard:
    """Follows /policy/status from when the page was opened."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._curve = StepsCurve(thresholds.reached, thresholds.unreachable, thresholds.stalls)
        self._drawn = -float("inf")
        with ui.card().classes("card"):
            self._words = ui.label("").classes("title")
            self._figure = ui.html("", sanitize=False).classes("curve")

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        if snapshot.policy is not None:
            self._curve.note(snapshot.policy)
        newest = self._curve.newest
        self._words.set_text("steps to the goal: not known" if newest is None else f"{newest:.1f} steps to the goal")
        if now - self._drawn >= _DRAW_S:
            self._drawn = now
            self._figure.set_content(self._curve.svg())
