"""The episodes of a running recording: begin, end, discard, label, and how many there are."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.asker import Asker
from mqe_core.console.link import Snapshot
from mqe_core.console.tone import Tone
from mqe_core.console.words import say_episodes
from mqe_core.robot.episode_marks import DISCARD, LABEL, MOST_LABEL_BYTES, START, STOP


class RecordCard:
    """What it shows is what record_node says."""

    def __init__(self, asker: Asker) -> None:
        self._ask = asker
        with ui.card().classes("card"):
            ui.label("Episodes").classes("title").props('role="heading" aria-level="2"')
            self._tone = Tone("the recording")
            with ui.row():
                for act, words in ((START, "Start"), (STOP, "Stop"), (DISCARD, "Discard")):
                    ui.button(words, color=None, on_click=lambda act=act: asker(act)).props(
                        f'data-act="episode-{act}" no-caps outline'
                    )
            with ui.row().classes("card-head"):
                self._label = ui.input("what it shows").props(f"dense outlined maxlength={MOST_LABEL_BYTES}")
                self._label.on("keydown.enter", self._on_label)
                ui.button("Label", color=None, on_click=self._on_label).props(
                    'data-act="episode-label" no-caps outline'
                )

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        self._tone.show(say_episodes(snapshot.episodes, now))

    async def _on_label(self) -> None:
        if await self._ask(LABEL, str(self._label.value or "")):
            self._label.set_value("")
