"""The goals, each with a small picture: choose one, send it, cancel it."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.asker import Asker
from mqe_core.console.goal_pictures import GoalPictures
from mqe_core.console.link import CANCEL, CAPTURE, SEND, Snapshot

_LOOK_S = 2.0  # for goals that came or went


class GoalCard:
    """Lists what lies in the goal folders."""

    def __init__(self, asker: Asker, goals: GoalPictures) -> None:
        self._ask, self._goals = asker, goals
        self._chosen = ""
        self._buttons: dict[str, ui.element] = {}
        self._listed: list[tuple[str, int]] = []
        self._looked = -float("inf")
        with ui.card().classes("card"):
            ui.label("Goals").classes("title").props('role="heading" aria-level="2"')
            self._list = ui.element("div").classes("goals").props('role="listbox" aria-label="goals"')
            with ui.row():
                self._send = ui.button("Send", color=None, on_click=self._on_send)
                self._send.props('data-act="send" no-caps unelevated')
                ui.button("Cancel the goal", color=None, on_click=lambda: asker(CANCEL)).props(
                    'data-act="cancel" no-caps outline'
                )
            with ui.row().classes("card-head"):
                self._name = ui.input("name of a new goal").props("dense outlined")
                ui.button("Capture", color=None, on_click=self._on_capture).props('data-act="capture" no-caps outline')

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        entries = self._goals.entries()
        listed = [(entry.name, entry.key) for entry in entries]
        if listed == self._listed:
            return
        self._listed = listed
        self._list.clear()
        self._buttons = {}
        with self._list:
            for name, key in listed:
                self._add(name, key)
            if not listed:
                ui.label("none yet: capture one").classes("detail")
        self._choose(self._chosen if self._chosen in self._buttons else "")

    def _add(self, name: str, key: int) -> None:
        button = ui.element("button").classes("goal").on("click", lambda: self._choose(name))
        button.props(f'type="button" role="option" data-goal="{name}"')
        with button:
            ui.element("img").props(f'src="/goals/{name}?{key}" alt="" width=128 height=96 loading="lazy"')
            ui.label(name)
        self._buttons[name] = button

    def _choose(self, name: str) -> None:
        self._chosen = name
        for other, button in self._buttons.items():
            button.props(f'aria-selected="{"true" if other == name else "false"}"')
        self._send.set_text(f"Send {name}" if name else "Send")
        self._send.set_enabled(bool(name))

    async def _on_send(self) -> None:
        await self._ask(SEND, self._chosen)

    async def _on_capture(self) -> None:
        if await self._ask(CAPTURE, str(self._name.value or "")):
            self._name.set_value("")
            self._looked = -float("inf")
