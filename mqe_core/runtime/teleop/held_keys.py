"""Keys that are held down, of a keyboard that tells releases too: each moves the arm for as long as it is held.

A terminal tells no releases; there `keys.KeyMap` counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.runtime.teleop.devices import ACTS, MOTIONS, Devices
from mqe_core.runtime.teleop.pad import Reading


class HeldKeys:
    """The keys of a devices' file, as a pad that is deflected in full or not at all."""

    def __init__(self, devices: Devices) -> None:
        self._does = {key.key: key.does for key in devices.keyboard.keys}

    def read(self, dead_man: bool, keys: Sequence[str]) -> Reading:
        """What the keys that are held ask for, by their names in the file; others mean nothing. Two that move opposite
        ways cancel each other.
        """
        does = {self._does[key] for key in keys if key in self._does}
        motion = np.zeros(6)
        for place, name in enumerate(MOTIONS):
            motion[place] = float(f"{name}+" in does) - float(f"{name}-" in does)
        return Reading(dead_man, motion, frozenset(act for act in ACTS if act in does))
