"""The page: its parts, in their order. Each part builds its widgets and shows what is new in a snapshot."""

from __future__ import annotations

import time
from typing import Protocol

from nicegui import ui

from mqe_core.console.arm_card import ArmCard
from mqe_core.console.asker import Asker
from mqe_core.console.console import Console
from mqe_core.console.goal_card import GoalCard
from mqe_core.console.hand_card import HandCard
from mqe_core.console.health_card import HealthCard
from mqe_core.console.link import Snapshot
from mqe_core.console.picture_card import PictureCard
from mqe_core.console.record_card import RecordCard
from mqe_core.console.recordings_card import RecordingsCard
from mqe_core.console.state_bar import StateBar
from mqe_core.console.steps_card import StepsCard

_SHOW_S = 0.2  # how often what is new is shown: as often as the nodes speak


class Part(Protocol):
    """A part of the page."""

    def show(self, snapshot: Snapshot, now: float) -> None:
        """Bring the widgets up to date; `now` in monotonic seconds."""


class Page:
    """One browser's page."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._parts: list[Part] = []

    def build(self) -> None:
        """Lay it out."""
        ui.add_head_html('<link rel="stylesheet" href="/own/console.css"><script src="/own/console.js" defer></script>')
        ui.run_javascript(f'document.body.dataset.deadMan = "{self._console.devices.keyboard.dead_man}"')
        asker = Asker(self._console.link, self.show)
        with ui.element("div").classes("cut-off-words").props('data-cut-off hidden role="alert"'):
            ui.label("No connection to the graph: what you see is old, and this page can stop nothing.")
        with ui.element("main").classes("page"):
            self._parts.append(StateBar(asker))
            with ui.element("div").classes("columns"):
                with ui.element("div").classes("column wide"):
                    self._parts.append(PictureCard(self._console))
                    self._parts.append(StepsCard(self._console.thresholds))
                    self._parts.append(ArmCard(self._console.spec))
                with ui.element("div").classes("column"):
                    self._parts.append(GoalCard(asker, self._console))
                    self._parts.append(HandCard(self._console.devices))
                    self._parts.append(RecordCard(asker))
                    self._parts.append(RecordingsCard(self._console))
                    self._parts.append(HealthCard())
        self.show()
        ui.timer(_SHOW_S, self.show)

    def show(self) -> None:
        """Bring all parts up to date."""
        snapshot, now = self._console.link.snapshot(), time.monotonic()
        for part in self._parts:
            part.show(snapshot, now)
