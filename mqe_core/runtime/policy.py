"""OnnxPolicy: a checked bundle as a policy, from camera images of any size to an action in physical units."""

from __future__ import annotations

import numpy as np

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime.policy_images import PolicyImages
from mqe_core.runtime.policy_side import PolicyOutput, StickyGripper


class OnnxPolicy:
    """Runs a bundle on one observation at a time."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle
        self.contract = bundle.contract
        self.fingerprint = bundle.fingerprint
        self.domain = bundle.contract.domain
        self._images = PolicyImages(bundle.contract.image_size)

    def act(self, observation: np.ndarray, goal: np.ndarray) -> PolicyOutput:
        """One inference; both images (H, W, 3) uint8 RGB of any size, squashed to the policy's. ValueError
        for anything else.
        """
        observation, goal = self._images(observation, goal)
        outputs = self.bundle.run(observation[None], goal[None])
        steps = float(outputs["steps_to_goal"][0]) if self.bundle.has_steps_to_goal else None
        return PolicyOutput(action=outputs["action"][0], steps_to_goal=steps)

    def gripper_rule(self) -> StickyGripper:
        """A new gripper rule as the bundle's contract states it."""
        return StickyGripper(self.contract.gripper_threshold, self.contract.gripper_steps)
