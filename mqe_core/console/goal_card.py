"""The goals, each with a small picture: choose one, send it, cancel it; and new ones, by the camera or of a file."""

from __future__ import annotations

from nicegui import events, run, ui

from mqe_core import images
from mqe_core.console.asker import Asker
from mqe_core.console.console import Console
from mqe_core.console.link import CANCEL, CAPTURE, SEND, Snapshot

_LOOK_S = 2.0  # for goals that came or went


class GoalCard:
    """Lists what lies in the goal folders."""

    def __init__(self, asker: Asker, console: Console) -> None:
        self._ask, self._console = asker, console
        self._chosen = ""
        self._buttons: dict[str, ui.element] = {}
        self._listed: list[str] | None = None
        self._looked = -float("inf")
        with ui.card().classes("card"):
            ui.label("Goals").classes("title").props('role="heading" aria-level="2"')
            self._list = ui.element("div").classes("goals").props('role="listbox" aria-label="goals"')
            with ui.row():
                self._send = ui.button("Send", color=None, on_click=self._on_send)
                self._send.props('data-act="send" no-caps unelevated')
                cancel = ui.button("Cancel the goal", color=None, on_click=lambda: asker(CANCEL))
                cancel.props('data-act="cancel" no-caps outline')
            with ui.expansion("new goal").props("dense").classes("new-goal"):
                self._name = ui.input("its name").props("dense outlined maxlength=100")
                capture = ui.button("Take the camera's picture now", color=None, on_click=self._on_capture)
                capture.props('data-act="capture" no-caps outline')
                ui.label("or a picture of yours, JPEG or PNG:").classes("detail")
                self._upload = ui.upload(
                    label="choose a picture", auto_upload=True, on_upload=self._on_upload, on_rejected=self._on_rejected
                )
                self._upload.props('accept=".png,.jpg,.jpeg" flat').props(f"max-file-size={images.FRAME_BYTES}")

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        listed = [goal.name for goal in self._console.goals.names()]
        if listed == self._listed:
            return
        self._listed = listed
        self._list.clear()
        self._buttons = {}
        with self._list:
            for name in listed:
                self._add(name)
            if not listed:
                ui.label("none yet: make a new one").classes("detail")
        self._choose(self._chosen if self._chosen in self._buttons else "")

    def _add(self, name: str) -> None:
        button = ui.element("button").classes("goal").on("click", lambda: self._choose(name))
        button.props["type"], button.props["role"], button.props["data-goal"] = "button", "option", name
        with button:
            picture = ui.element("img").props('alt="" width=128 height=96 loading="lazy"')
            picture.props["src"] = f"/files/goals/{name}/thumbnail"
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
        if await self._ask(CAPTURE, self._wanted()):
            self._begin_anew()

    async def _on_upload(self, said: events.UploadEventArguments) -> None:
        data = await said.file.read()
        self._upload.reset()
        try:
            added = await run.io_bound(self._console.goals.add, self._wanted(), data, self._console.meaning)
            self._ask.say(f"a new goal: {'' if added is None else added[1]}", is_done=True)
            self._begin_anew()
        except (ValueError, OSError) as error:
            self._ask.say(str(error), is_done=False)

    def _on_rejected(self) -> None:
        self._ask.say(f"a JPEG or PNG of at most {images.FRAME_BYTES / 1e6:.0f} MB is taken", is_done=False)

    def _wanted(self) -> str:
        return str(self._name.value or "").strip()

    def _begin_anew(self) -> None:
        self._name.set_value("")
        self._looked = -float("inf")
