"""PolicyImages: camera image and goal as a policy wants them, wherever it is computed."""

from __future__ import annotations

import numpy as np

from mqe_core.images import squash_resize
from mqe_core.robot.arrays import Images


class PolicyImages:
    """Squashes both to `size`. The goal's resized form is kept, as a goal stays the same for many steps."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._goal: tuple[Images, Images] | None = None  # as it came, and resized

    def __call__(self, observation: Images, goal: Images) -> tuple[Images, Images]:
        """(H, W, 3) uint8 RGB of any size → (S, S, 3) each. ValueError for anything else."""
        known = self._goal
        if known is None or not np.array_equal(known[0], goal):
            resized = self.of_goal(goal)
            self._goal = known = goal.copy(), resized
        return self._resize(observation, "observation"), known[1]

    def of_goal(self, goal: Images) -> Images:
        """The goal alone, and nothing is kept: another thread may ask meanwhile."""
        return self._resize(goal, "goal")

    def _resize(self, image: Images, what: str) -> Images:
        try:
            return squash_resize(image, self._size)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
