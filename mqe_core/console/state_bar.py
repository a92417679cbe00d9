"""The top of the page: what arm and policy do, in words, and the button that holds the arm."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.asker import Asker
from mqe_core.console.link import HOLD, HOME, RESUME, Snapshot
from mqe_core.console.tone import Tone
from mqe_core.console.words import say_arm, say_policy
from mqe_core.robot.safety_rules import HELD

_ASKED = "asked to hold …"


class StateBar:
    """Says `HELD` only where /arm/status does."""

    def __init__(self, asker: Asker) -> None:
        self._ask = asker
        self._is_asked = False
        with ui.element("header").classes("bar"):
            with ui.element("div").classes("states"):
                self._arm, self._policy = Tone("the arm"), Tone("the policy")
                asker.build()
            with ui.element("div").classes("acts"):
                self._hold = ui.button("HOLD", color=None, on_click=self._on_hold).classes("hold")
                self._hold.props('data-act="hold" aria-keyshortcuts="Space" no-caps unelevated')
                with ui.element("div").classes("side"):
                    ui.button("Resume", color=None, on_click=lambda: asker(RESUME)).props(
                        'data-act="resume" no-caps outline'
                    )
                    ui.button("Home …", color=None, on_click=self._on_home).props('data-act="home" no-caps outline')
                    self._dark = ui.button("◐", color=None, on_click=self._on_dark)
                    self._dark.props('no-caps flat aria-label="light or dark"')
        self._mode = ui.dark_mode(None)

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`."""
        self._arm.show(say_arm(snapshot.arm, now))
        self._policy.show(say_policy(snapshot.policy, now))
        is_held = snapshot.arm is not None and snapshot.arm.state == HELD
        self._hold.set_text("✓ HELD" if is_held else _ASKED if self._is_asked else "HOLD")
        self._hold.classes(add="done" if is_held else "", remove="" if is_held else "done")

    async def _on_hold(self) -> None:
        self._is_asked = True
        self._hold.set_text(_ASKED)
        try:
            await self._ask(HOLD)
        finally:
            self._is_asked = False

    async def _on_home(self) -> None:
        with ui.dialog() as dialog, ui.card():
            ui.label("Move the arm to its neutral pose?").classes("title")
            ui.label("It sets off at once, by itself, through the safety filter. Stand clear. Space holds it.")
            with ui.row():
                ui.button("Move it home", color=None, on_click=lambda: dialog.submit(True)).props('data-act="home-yes"')
                ui.button("No", color=None, on_click=lambda: dialog.submit(False)).props("outline autofocus")
        if await dialog:
            await self._ask(HOME)
        dialog.delete()

    def _on_dark(self) -> None:
        self._mode.set_value({None: True, True: False, False: None}[self._mode.value])
