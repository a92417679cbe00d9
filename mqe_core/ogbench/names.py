"""What the name of an OGBench data set says.

A data set's name is that of its environment with the kind of data before the version: `pointmaze-giant-stitch-v0` is of
the kind `stitch`, made in `pointmaze-giant-v0`. The colossal mazes are those of the MQE paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from mqe_core.learning.run.tuned import require_dataset

INSTALL = "pip install -r requirements/ogbench.txt"


@dataclass(frozen=True)
class DatasetName:
    """A known data set: `text` is `{scene}-{kind}-v0`."""

    scene: str  # such as "pointmaze-giant"
    kind: str  # navigate, stitch, explore, play or noisy

    @property
    def text(self) -> str:
        """The name in full."""
        return f"{self.scene}-{self.kind}-v0"

    @property
    def environment(self) -> str:
        """The id of its environment."""
        return f"{self.scene}-v0"

    @property
    def pixels(self) -> bool:
        """Whether its observations are images."""
        return self.scene.startswith("visual-")

    @property
    def maze(self) -> bool:
        """Whether the first two numbers of a state are the position in a maze."""
        return self.scene.startswith(("pointmaze-", "antmaze-", "humanoidmaze-"))


def parse_name(text: str) -> DatasetName:
    """The data set of that name; ValueError with the nearest names where there is none."""
    scene, kind, _ = require_dataset(text).rsplit("-", 2)
    return DatasetName(scene, kind)
