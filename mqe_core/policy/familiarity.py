"""Is a picture like those that the policy learned from? A camera that was moved, or another table, is not.

A picture is shrunk to GRID x GRID cells. Of each cell and colour the bundle knows the darkest and the lightest value
that the training pictures have. The measure is the share of values outside that range. Objects and the arm move within
it; what stands still in all training pictures has a narrow one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mqe_core.images import squash_resize
from mqe_core.policy.reachability import IN_A_ROW
from mqe_core.robot.arrays import Images

GRID = 16
MARGIN = 10  # of 255: by so much a value may be beyond those seen, by noise or a lamp
_VALUES = GRID * GRID * 3


def cells(picture: Images) -> Images:
    """(S, S, 3) uint8 as the policy sees it -> (GRID, GRID, 3) uint8."""
    return squash_resize(picture, GRID)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What the training pictures span, and how much of a picture may lie outside.

    Attributes:
        darkest, lightest: (GRID, GRID, 3) uint8.
        most_outside: of a picture's values; more is unlike the training pictures.
    """

    darkest: Images
    lightest: Images
    most_outside: float

    def outside(self, picture: Images) -> float:
        """The share of values of `picture`, (S, S, 3) uint8 as the policy sees it, outside the range."""
        seen = cells(picture).astype(np.int16)
        beyond = (seen < self.darkest.astype(np.int16) - MARGIN) | (seen > self.lightest.astype(np.int16) + MARGIN)
        return float(beyond.mean())

    def encoded(self) -> dict[str, Any]:
        """For the bundle's contract."""
        darkest, lightest = (base64.b64encode(a.tobytes()).decode() for a in (self.darkest, self.lightest))
        return {"darkest": darkest, "lightest": lightest, "most_outside": self.most_outside}

    @classmethod
    def decoded(cls, values: Mapping[str, Any]) -> Familiarity:
        """From the contract; ValueError where it is none."""
        if set(values) != {"darkest", "lightest", "most_outside"}:
            raise ValueError("expected darkest, lightest and most_outside")
        arrays = []
        for name in ("darkest", "lightest"):
            data = base64.b64decode(str(values[name]), validate=True)
            if len(data) != _VALUES:
                raise ValueError(f"{name}: expected {_VALUES} bytes, got {len(data)}")
            arrays.append(np.frombuffer(data, np.uint8).reshape(GRID, GRID, 3))
        most = values["most_outside"]
        if isinstance(most, bool) or not isinstance(most, (int, float)) or not 0.0 <= most <= 1.0:
            raise ValueError("most_outside: expected a number from 0 to 1")
        return cls(arrays[0], arrays[1], float(most))


class PictureWarning:
    """Says that the pictures are unlike the training data while the newest IN_A_ROW of them all are."""

    def __init__(self, most_outside: float | None) -> None:
        self._most = most_outside
        self._beyond = 0
        self.newest: float | None = None

    def update(self, outside: float | None) -> None:
        """Note one picture; None: it was not measured."""
        self.newest = outside
        is_beyond = outside is not None and self._most is not None and outside > self._most
        self._beyond = self._beyond + 1 if is_beyond else 0

    @property
    def text(self) -> str:
        """For people; empty where there is nothing to say."""
        if self._beyond < IN_A_ROW or self.newest is None or self._most is None:
            return ""
        return (
            f"the picture is unlike the training data: {100.0 * self.newest:.1f} % of it outside their range, at most "
            f"{100.0 * self._most:.1f} % in their own scenes; has the camera moved, or is it another table?"
        )
