"""OnnxPolicy: a checked bundle as a policy, from camera images of any size to an action in physical units."""

from __future__ import annotations

import numpy as np

from mqe_core.bundle import PolicyBundle
from mqe_core.images import squash_resize
from mqe_core.runtime.policy_side import PolicyOutput, StickyGripper


class OnnxPolicy:
    """Runs a bundle on one observation at a time. The goal's resized form is kept, as a goal stays the same
    for many steps.
    """

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle
        self.contract = bundle.contract
        self.fingerprint = bundle.fingerprint
        self.domain = bundle.contract.domain
        self._goal: np.ndarray | None = None  # as it came
        self._goal_input: np.ndarray | None = None  # (1, S, S, 3)

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        """One inference; both images (H, W, 3) uint8 RGB of any size, squashed to the policy's. ValueError
        for anything else.
        """
        if self._goal is None or self._goal.shape != np.shape(goal) or not np.array_equal(self._goal, goal):
            self._goal_input = self._resize(goal, "goal")
            self._goal = goal.copy()
        outputs = self.bundle.run(self._resize(observation, "observation"), self._goal_input)
        steps = float(outputs["steps_to_goal"][0]) if self.bundle.has_steps_to_goal else None
        return PolicyOutput(action=outputs["action"][0], steps_to_goal=steps)

    def gripper_rule(self) -> StickyGripper:
        """A new gripper rule as the bundle's contract states it."""
        return StickyGripper(self.bundle.contract.gripper_threshold, self.bundle.contract.gripper_steps)

    def _resize(self, image: np.ndarray, what: str) -> np.ndarray:
        try:
            return squash_resize(image, self.bundle.contract.image_size)[None]
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
