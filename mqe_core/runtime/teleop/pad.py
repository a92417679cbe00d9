"""A pad's messages as what the operator wants, strictly: numbers that no pad sends count as none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_core.runtime.teleop.devices import ACTS, ALWAYS, MOTIONS, Devices, PadSpec

_MOST_DEFLECTION = 1.5  # a driver may round beyond 1; more is no deflection
_MOST_PLACES = 256  # axes and buttons of a message
_SOURCE = re.compile(r"(?P<sign>-?)axis (?P<axis>\d+)|buttons? (?P<plus>\d+)( (?P<minus>\d+))?|none")


@dataclass(frozen=True, eq=False)
class Reading:
    """One message of a pad: `motion` (6,) from −1 to 1 along x, y, z, roll, pitch, yaw; `down`: the acts whose buttons
    are pressed.
    """

    dead_man: bool
    motion: Floats
    down: frozenset[str]


@dataclass(frozen=True)
class _Source:
    """Where one number of a message comes from: an axis with its sign, or one or two buttons, or nowhere."""

    axis: int | None = None
    sign: float = 1.0
    plus: int | None = None
    minus: int | None = None

    @property
    def buttons(self) -> list[int]:
        return [button for button in (self.plus, self.minus) if button is not None]

    def value(self, axes: Sequence[float], buttons: Sequence[int]) -> float:
        if self.axis is not None:
            return self.sign * axes[self.axis]
        plus, minus = (0 if place is None else bool(buttons[place]) for place in (self.plus, self.minus))
        return float(plus - minus)


class Pad:
    """Reads the messages of one kind of pad. ValueError where its mapping is none."""

    def __init__(self, spec: PadSpec, devices: Devices) -> None:
        self.spec = spec
        self._others = [other for other in devices.pads if other.name != spec.name]
        self._dead_zone = devices.dead_zone
        self._motions = [_source(spec, motion, may_be_axis=True) for motion in MOTIONS]
        self._acts = {act: _source(spec, act) for act in ACTS}
        self._dead_man = _source(spec, "dead_man")
        if not self._dead_man.buttons:
            raise ValueError(f"the pad {spec.name} has no dead_man; without one nothing moves")
        self._buttons = [0] * spec.buttons  # as last told

    def read(self, axes: Sequence[float], buttons: Sequence[int]) -> Reading:
        """What a message says. ValueError where it is another pad's, or holds what no pad sends."""
        self._check_places(len(axes), len(buttons))
        for number, deflection in enumerate(axes):
            if not abs(deflection) <= _MOST_DEFLECTION:  # nor is NaN
                raise ValueError(f"axis {number} is {deflection:.4g}, and an axis goes from -1 to 1; look at the pad")
        if self.spec.button_news == ALWAYS:
            self._buttons = list(buttons)
        else:
            self._buttons[: len(buttons)] = buttons
        now = self._buttons
        motion = [self._beyond_dead_zone(source.value(axes, now)) for source in self._motions]
        down = frozenset(act for act, source in self._acts.items() if source.value(axes, now))
        return Reading(bool(self._dead_man.value(axes, now)), np.array(motion), down)

    def _check_places(self, axes: int, buttons: int) -> None:
        spec = self.spec
        always = spec.button_news == ALWAYS
        if axes == spec.axes and (buttons == spec.buttons if always else buttons <= spec.buttons):
            return
        fitting = [other.name for other in self._others if (other.axes, other.buttons) == (axes, buttons)]
        hint = f"it may be {' or '.join(fitting)}" if fitting else "give it a mapping of its own"
        raise ValueError(
            f"an unknown pad: it has {min(axes, _MOST_PLACES)} axes and {min(buttons, _MOST_PLACES)} buttons, "
            f"{spec.name} has {spec.axes} and {spec.buttons}; {hint}"
        )

    def _beyond_dead_zone(self, deflection: float) -> float:
        size = min(abs(deflection), 1.0)
        return math.copysign(max(size - self._dead_zone, 0.0) / (1.0 - self._dead_zone), deflection)


def _source(spec: PadSpec, name: str, may_be_axis: bool = False) -> _Source:
    """The field `name` of the pad's mapping. ValueError where it names no place that the pad has."""
    text = getattr(spec, name)
    found = _SOURCE.fullmatch(text)
    if found is None or (found["axis"] is not None and not may_be_axis):
        wanted = "axis N, -axis N, buttons P M or none" if may_be_axis else "button N or none"
        raise ValueError(f"the pad {spec.name}: {name}: expected {wanted}, got {text!r}")
    if found["axis"] is not None:
        source = _Source(axis=int(found["axis"]), sign=-1.0 if found["sign"] else 1.0)
    else:
        plus, minus = (None if found[side] is None else int(found[side]) for side in ("plus", "minus"))
        source = _Source(plus=plus, minus=minus)
    if (source.axis or 0) >= spec.axes or any(button >= spec.buttons for button in source.buttons):
        raise ValueError(f"the pad {spec.name}: {name}: {text!r} lies beyond its axes and buttons")
    return source
