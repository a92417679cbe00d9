"""What lies on the table: four graspable objects of different shape and colour, and the target that each belongs to.

An object's frame is at its centre, a target's on the table below its centre. Every object is 30 mm wide where the
fingers close (along y, within ±0.2 rad). That is less than their 50 mm opening, and enough to be seen in 64 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mqe_core.robot.arrays import Floats
from mqe_sim.urdf import Part, Rgba
from mqe_sim.world import World


@dataclass(frozen=True)
class ObjectKind:
    """A thing to move: `parts` in its own frame, `height_m` overall. `flattest_m` is its height on its lowest side."""

    name: str
    parts: tuple[Part, ...]
    height_m: float
    flattest_m: float
    mass_kg: float
    friction: float = 0.9
    room_m: float = 0.035  # radius to keep free around it: the open fingers

    def add(self, world: World, xy: Floats, yaw_rad: float) -> int:
        """Put one on the table; returns its body."""
        return world.add_body(
            self.parts, [*xy, self.height_m / 2], mass_kg=self.mass_kg, friction=self.friction, yaw_rad=yaw_rad
        )


@dataclass(frozen=True)
class TargetKind:
    """A place for an object, which stands `support_m` above the table, its centre within `centred_m` of the target's.

    A `painted` target is a mark on the table: seen, not touched.
    """

    name: str
    parts: tuple[Part, ...]
    support_m: float
    centred_m: float
    mass_kg: float
    room_m: float  # radius of what it covers
    painted: bool = False

    def add(self, world: World, xy: Floats) -> int:
        """Put one on the table; returns its body."""
        if self.painted:
            (paint,) = self.parts
            return world.add_mark(paint.size_m, [*xy, 0.0], rgba=paint.rgba)
        return world.add_body(self.parts, [*xy, 0.0], mass_kg=self.mass_kg, friction=0.8)


_RED, _YELLOW, _GREEN, _PURPLE = (
    (0.85, 0.12, 0.10, 1.0),
    (0.95, 0.80, 0.10, 1.0),
    (0.10, 0.60, 0.20, 1.0),
    (0.50, 0.15, 0.60, 1.0),
)
_BLUE, _WHITE, _DARK_GREEN, _DARK_PURPLE = (
    (0.15, 0.35, 0.80, 1.0),
    (0.92, 0.92, 0.92, 1.0),
    (0.05, 0.30, 0.12, 1.0),
    (0.25, 0.05, 0.30, 1.0),
)

CUBE = ObjectKind("cube", (Part((0.030, 0.030, 0.030), rgba=_RED),), 0.030, 0.030, 0.05)
CAN = ObjectKind("can", (Part((0.015, 0.040), rgba=_YELLOW),), 0.040, 0.030, 0.05)
BRICK = ObjectKind("brick", (Part((0.050, 0.030, 0.030), rgba=_GREEN),), 0.030, 0.030, 0.05)
PAWN = ObjectKind(
    "pawn",
    (Part((0.030, 0.030, 0.018), (0.0, 0.0, -0.013), _PURPLE), Part((0.012, 0.026), (0.0, 0.0, 0.009), _PURPLE)),
    0.044,
    0.024,
    0.05,
)


def _bowl() -> tuple[Part, ...]:
    """A floor and on it a wall of twelve staves, 20 mm high in all, wide enough for the open fingers.

    The bowl rests on its floor. The staves end above the table, as each would add four contacts to every physics step.
    """
    radius, wall, staves, floor, height = 0.050, 0.004, 12, 0.004, 0.020
    stave = (wall, 2 * radius * np.tan(np.pi / staves), height - floor)
    angles = 2 * np.pi * np.arange(staves) / staves
    ring = [
        Part(stave, (radius * np.cos(a), radius * np.sin(a), (height + floor) / 2), _WHITE, float(a)) for a in angles
    ]
    return (Part((radius, floor), (0.0, 0.0, floor / 2), _WHITE), *ring)


def _mark(rgba: Rgba) -> tuple[Part, ...]:
    return (Part((0.070, 0.070, 0.001), rgba=rgba),)


PLATE = TargetKind("plate", (Part((0.050, 0.008), (0.0, 0.0, 0.004), _BLUE),), 0.008, 0.035, 0.3, 0.050)
BOWL = TargetKind("bowl", _bowl(), 0.004, 0.036, 0.3, 0.053)
GREEN_MARK = TargetKind("green mark", _mark(_DARK_GREEN), 0.0, 0.030, 0.0, 0.035, painted=True)
PURPLE_MARK = TargetKind("purple mark", _mark(_DARK_PURPLE), 0.0, 0.030, 0.0, 0.035, painted=True)

PAIRS = ((CUBE, PLATE), (CAN, BOWL), (BRICK, GREEN_MARK), (PAWN, PURPLE_MARK))
