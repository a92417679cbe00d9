"""What was recorded: the list, the episodes of one recording, and a player for them."""

from __future__ import annotations

import time
from urllib.parse import quote

from nicegui import run, ui

from mqe_core.console.console import Console
from mqe_core.console.link import Snapshot
from mqe_core.console.recorded_bags import Contents, Recorded
from mqe_core.console.recordings import Recording

_ROWS = 20  # that are shown at first, and more each time
_PLAY_S = 0.2  # between two pictures, as between two control steps
_FIRST = 0


class RecordingsCard:
    """Nothing is read before it is unfolded. Pictures come by `file_routes`."""

    def __init__(self, console: Console) -> None:
        self._recordings = console.recordings
        self._rows, self._name, self._episode = _ROWS, "", Recorded(0, 0.0, 0)
        with ui.card().classes("card"):
            ui.label("Recordings").classes("title").props('role="heading" aria-level="2"')
            with ui.expansion("what was recorded", on_value_change=self._on_fold).props("dense").classes("recordings"):
                with ui.row():
                    ui.button("Look again", color=None, on_click=self._list_all).props("no-caps outline")
                    self._more = ui.button("Older ones", color=None, on_click=self._list_more).props("no-caps outline")
                self._list = ui.element("div").classes("recording-list")
                self._said = ui.label("").classes("detail").props('role="status"')
                self._episodes = ui.element("div").classes("goals")
                with ui.element("div").classes("player") as self._player:
                    self._picture = ui.element("img").props('alt="the chosen picture of the episode"')
                    self._place = ui.slider(min=0, max=1, value=0, on_change=self._on_place)
                    self._place.props('aria-label="which picture of the episode"')
                    with ui.row():
                        self._play = ui.button("Play", color=None, on_click=self._on_play).props("no-caps outline")
                        self._where = ui.label("").classes("detail")
                self._player.set_visibility(False)
        self._timer = ui.timer(_PLAY_S, self._next, active=False)

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`: it is brought up to date where somebody looks into it."""

    async def _on_fold(self) -> None:
        self._timer.deactivate()
        await self._list_all()

    async def _list_more(self) -> None:
        self._rows += _ROWS
        await self._list_all()

    async def _list_all(self) -> None:
        rows = await run.io_bound(self._recordings.rows) or []
        self._list.clear()
        with self._list:
            for row in rows[: self._rows]:
                self._add_row(row)
        self._more.set_visibility(len(rows) > self._rows)
        if not rows:
            self._said.set_text(f"nothing was recorded in {self._recordings.folder} yet")

    def _add_row(self, row: Recording) -> None:
        size = f", {row.num_bytes / 1e6:.0f} MB" if row.num_bytes else ""
        words = f"{row.name}, {time.strftime('%d %b %H:%M', time.localtime(row.changed))}{size}"
        button = ui.button(words, color=None, on_click=lambda: self._open(row.name)).props(
            "no-caps flat align=left dense"
        )
        button.props["data-recording"] = row.name

    async def _open(self, name: str) -> None:
        self._timer.deactivate()
        self._episodes.clear()
        self._player.set_visibility(False)
        self._name = name
        try:
            contents = await run.io_bound(self._recordings.contents, name) or Contents(())
        except ValueError as error:
            self._said.set_text(f"✕ {error}")
            return
        empty = "" if contents.episodes else "no pictures are in it"
        said = [f"! {words}" for words in (contents.problem, empty) if words]
        self._said.set_text(f"{name}: {'; '.join(said) or f'✓ {len(contents.episodes)} episodes'}")
        with self._episodes:
            for episode in contents.episodes:
                self._add_episode(episode)

    def _add_episode(self, episode: Recorded) -> None:
        button = ui.element("button").classes("goal").on("click", lambda: self._choose(episode))
        button.props["type"], button.props["data-episode"] = "button", str(episode.number)
        state = "recording …" if episode.is_open else "✓ kept" if episode.is_kept else "✕ discarded"
        with button:
            if episode.pictures:
                picture = ui.element("img").props('alt="" width=128 height=96 loading="lazy"')
                picture.props["src"] = f"{self._address(episode)}/thumbnail"
            title = f"episode {episode.number}" if episode.number else "all of it"
            ui.label(f"{title}, {state}, {episode.pictures} pictures").classes("detail")
            ui.label(episode.label)

    def _choose(self, episode: Recorded) -> None:
        self._timer.deactivate()
        self._episode = episode
        self._player.set_visibility(episode.pictures > 0)
        if episode.pictures:
            self._place.props(f"max={episode.pictures - 1}")
            self._place.set_value(_FIRST)
            self._on_place()

    def _on_place(self) -> None:
        number = int(self._place.value or 0)
        self._picture.props["src"] = f"{self._address(self._episode)}/{number}"
        self._picture.update()
        self._where.set_text(f"picture {number + 1} of {self._episode.pictures}")

    def _on_play(self) -> None:
        if not self._timer.active and self._place.value >= self._episode.pictures - 1:
            self._place.set_value(_FIRST)
        self._timer.active = not self._timer.active
        self._play.set_text("Pause" if self._timer.active else "Play")

    def _next(self) -> None:
        if self._place.value >= self._episode.pictures - 1:
            self._timer.deactivate()
            self._play.set_text("Play")
            return
        self._place.set_value(self._place.value + 1)

    def _address(self, episode: Recorded) -> str:
        return f"/files/recordings/{quote(self._name, safe='')}/{episode.number}"
