"""Boxes and cylinders that make a body, and the URDF text of bodies whose parts slide."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the server's clients import this module and load no PyBullet
    from mqe_sim.bullet import Bullet

Rgba = tuple[float, float, float, float]


@dataclass(frozen=True)
class Part:
    """A box or an upright cylinder, its centre at `position_m` in the link's frame.

    `size_m` is (x, y, z) of a box, (radius, height) of a cylinder.
    """

    size_m: tuple[float, ...]
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rgba: Rgba = (0.5, 0.5, 0.5, 1.0)
    yaw_rad: float = 0.0

    @property
    def is_box(self) -> bool:
        """Whether it is a box, not a cylinder."""
        return len(self.size_m) == 3


def numbers(values: Iterable[float]) -> str:
    """Values as an attribute, with all their digits."""
    return " ".join(repr(float(value)) for value in values)


def link(name: str, parts: Sequence[Part], mass_kg: float) -> str:
    """A link of boxes that are not turned.

    Bullet computes the inertia from them where the document is loaded without URDF_USE_INERTIA_FROM_FILE.
    """
    inertial = (
        f'<inertial><mass value="{mass_kg!r}"/><inertia ixx="0" iyy="0" izz="0" ixy="0" ixz="0" iyz="0"/></inertial>'
    )
    shapes = ""
    for i, part in enumerate(parts):
        box = f'<origin xyz="{numbers(part.position_m)}"/><geometry><box size="{numbers(part.size_m)}"/></geometry>'
        colour = f'<material name="{name}{i}"><color rgba="{numbers(part.rgba)}"/></material>'
        shapes += f"<visual>{box}{colour}</visual><collision>{box}</collision>"
    return f'<link name="{name}">{inertial}{shapes}</link>'


def slide(name: str, parent: str, child: str, axis: Sequence[float], upper_m: float) -> str:
    """A prismatic joint from 0 to `upper_m` along `axis`."""
    limit = f'<limit lower="0" upper="{upper_m!r}" effort="0" velocity="1"/>'
    ends = f'<parent link="{parent}"/><child link="{child}"/>'
    return f'<joint name="{name}" type="prismatic">{ends}<axis xyz="{numbers(axis)}"/>{limit}</joint>'


def robot(name: str, *elements: str) -> str:
    """The whole document."""
    return "\n".join([f'<robot name="{name}">', *elements, "</robot>"])


def load(bullet: Bullet, text: str, **options: object) -> int:
    """Load the body of a document with `loadURDF`'s options; returns its id."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.urdf"
        path.write_text(text, encoding="utf-8")
        return int(bullet.loadURDF(str(path), **options))
