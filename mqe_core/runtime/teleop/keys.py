"""What a terminal's keys do. It tells presses and no releases, so there a press is one bounded step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.runtime.teleop.devices import ACTS, HOLD, MOTIONS, Devices

_NAMES = {" ": "space", "\n": "enter", "\r": "enter"}
_ESCAPE = "\x1b"  # begins what arrow keys and others send
_COLUMN = 8


@dataclass(frozen=True, eq=False)
class Pressed:
    """A key that does something: one of ACTS, or a step `motion` (6,) in m and rad at the highest speed."""

    act: str | None
    motion: Floats


class KeyMap:
    """The keys of a devices' file."""

    def __init__(self, devices: Devices) -> None:
        self._does = {key.key: key.does for key in devices.keyboard.keys}
        self._step = np.repeat([devices.keyboard.step_m, devices.keyboard.step_rad], 3)

    def read(self, typed: str) -> Pressed | None:
        """What the characters that came at once ask for: a hold wherever it stands, else the first key that does
        something. More at once are a paste, or a key that repeats faster than the arm steps.
        """
        keys = [] if typed.startswith(_ESCAPE) else [_NAMES.get(character, character) for character in typed]
        known = [self._does[key] for key in keys if key in self._does]
        if not known:
            return None
        does = HOLD if HOLD in known else known[0]
        if does in ACTS:
            return Pressed(does, np.zeros(6))
        motion = np.zeros(6)
        place = MOTIONS.index(does[:-1])
        motion[place] = self._step[place] * (1.0 if does.endswith("+") else -1.0)
        return Pressed(None, motion)

    def legend(self) -> str:
        """The keys and what they do, for people: a line for each motion, then the acts."""
        by_act = {does: key for key, does in self._does.items()}
        lines = []
        for motion in MOTIONS:
            plus, minus = (by_act.get(f"{motion}{way}", "-") for way in "+-")
            lines.append(f"{plus:<{_COLUMN}}{minus:<{_COLUMN}}{motion} + and -")
        lines += [f"{by_act[act]:<{2 * _COLUMN}}{act}" for act in ACTS if act in by_act]
        return "\n".join(lines)
