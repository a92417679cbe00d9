"""A state as a widget: a sign, words and a colour, of which any one is enough."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.words import SIGNS, Said


class Tone:
    """A line that shows one `Said`."""

    def __init__(self, label: str) -> None:
        with ui.element("div").classes("tone").props(f'role="status" aria-label="{label}"') as self._line:
            self._sign = ui.label("?").classes("sign").props('aria-hidden="true"')
            with ui.element("div"):
                self._title, self._detail = ui.label("").classes("title"), ui.label("").classes("detail")
        self._tone = ""

    def show(self, said: Said) -> None:
        """Show it."""
        if said.tone != self._tone:
            self._line.classes(add=said.tone, remove=self._tone)
            self._tone = said.tone
        self._sign.set_text(SIGNS[said.tone])
        self._title.set_text(said.title)
        self._detail.set_text(said.detail)
