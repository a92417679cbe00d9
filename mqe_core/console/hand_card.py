"""Moving the arm by hand from the page: the switch, and what keys and buttons do."""

from __future__ import annotations

from nicegui import ui

from mqe_core.console.link import Snapshot
from mqe_core.runtime.teleop.devices import ACTS, BROWSER, MOTIONS, Devices

_WAYS = {
    "x": ("forward", "back"),
    "y": ("left", "right"),
    "z": ("up", "down"),
    "roll": ("roll +", "roll −"),
    "pitch": ("pitch +", "pitch −"),
    "yaw": ("turn left", "turn right"),
}
_WORDS = {
    "gripper": "open or close the gripper",
    "slower": "slower",
    "faster": "faster",
    "hold": "hold",
    "resume": "resume",
    "episode": "an episode begins, or ends",
    "discard": "the newest episode is none",
}


class HandCard:
    """The hand itself is the browser's: `static/console.js` says what it holds, and `hands` judges when it counts."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        with ui.card().classes("card"):
            with ui.row().classes("card-head"):
                ui.label("By hand").classes("title").props('role="heading" aria-level="2"')
                self._switch = ui.switch("hand control", on_change=self._on_switch).props('data-act="hand"')
            ui.element("div").classes("hand-state").props('data-hand-state="not" role="status"')
            dead_man = devices.keyboard.dead_man
            ui.label(
                f"Hold {dead_man}, and the arm is yours: keys move it while they are held with it. Let go, and it "
                f"holds. Only Resume gives it back to the policy. A gamepad: hold its right shoulder button."
            ).classes("detail")
            with ui.expansion("keys and buttons").props("dense"):
                self._table()

    def show(self, snapshot: Snapshot, now: float) -> None:
        """As `page.Part`: the browser shows it by itself."""

    def _table(self) -> None:
        keys = {key.does: key.key for key in self._devices.keyboard.keys}
        pad = self._devices.pad(BROWSER)
        rows = [("dead-man", self._devices.keyboard.dead_man, pad.dead_man)]
        for motion in MOTIONS:
            plus, minus = _WAYS[motion]
            pair = f"{keys.get(motion + '+', '–')}  {keys.get(motion + '-', '–')}"
            rows.append((f"{plus}, {minus}", pair, getattr(pad, motion)))
        rows += [(_WORDS[act], keys.get(act, "–"), getattr(pad, act)) for act in ACTS]
        with ui.element("table").classes("keys"):
            with ui.element("tr"):
                for head in ("", "key", "gamepad"):
                    with ui.element("th").props('scope="col"'):
                        ui.label(head)
            for row in rows:
                with ui.element("tr"):
                    for cell in row:
                        with ui.element("td"):
                            ui.label(cell)

    def _on_switch(self) -> None:
        ui.run_javascript(f"window.mqeHand({'true' if self._switch.value else 'false'})")
