"""PolicyImages: camera image and goal as a policy wants them, wherever it is computed."""

from __future__ import annotations

import numpy as np

from mqe_core.images import squash_resize


class PolicyImages:
    """Squashes both to `size`. The goal's resized form is kept, as a goal stays the same for many steps."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._goal: np.ndarray | None = None  # as it came
        self._goal_input: np.ndarray | None = None

    def __call__(self, observation: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB of any size → (S, S, 3) each. ValueError for anything else."""
        if self._goal is None or self._goal.shape != np.shape(goal) or not np.array_equal(self._goal, goal):
            self._goal_input = self._resize(goal, "goal")
            self._goal = goal.copy()
        return self._resize(observation, "observation"), self._goal_input

    def _resize(self, image: np.ndarray, what: str) -> np.ndarray:
        try:
            return squash_resize(image, self._size)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
