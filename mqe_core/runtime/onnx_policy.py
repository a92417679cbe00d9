"""OnnxPolicy: a checked bundle as a policy, from camera images of any size to an action in physical units."""

from __future__ import annotations

import numpy as np

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Images
from mqe_core.runtime.policy_images import PolicyImages
from mqe_core.runtime.policy_side import Candidates, PolicyOutput, StickyGripper


class OnnxPolicy:
    """Runs a bundle on one observation at a time."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle
        self.contract = bundle.contract
        self.fingerprint = bundle.fingerprint
        self.domain = bundle.contract.domain
        self._images = PolicyImages(bundle.contract.image_size)
        self._familiarity = bundle.contract.familiarity

    def act(self, observation: Images, goal: Images, last: int = NONE_CHOSEN) -> PolicyOutput:
        """One inference; both images (H, W, 3) uint8 RGB of any size, squashed to the policy's. ValueError
        for anything else. `last`, the candidate chosen before, is nothing to a policy of one answer.
        """
        observation, goal = self._images(observation, goal)
        given = (np.array([last], np.int64),) if self.contract.chooses else ()
        outputs = self.bundle.run(observation[None], goal[None], *given)
        steps = float(outputs["steps_to_goal"][0]) if self.bundle.has_steps_to_goal else None
        candidates = None
        if self.contract.chooses:
            candidates = Candidates(int(outputs["chosen"][0]), outputs["candidates"][0], outputs["distances"][0])
        outside = None if self._familiarity is None else self._familiarity.outside(observation)
        return PolicyOutput(outputs["action"][0], steps, candidates, outside)

    def prepare(self, goal: Images) -> None:
        """Do a new goal's own part of the work, (H, W, 3) uint8 RGB of any size, so that its first answer comes as soon
        as every other. Another thread may be in `act` meanwhile.
        """
        self.bundle.prepare(self._images.of_goal(goal)[None])

    def gripper_rule(self) -> StickyGripper:
        """A new gripper rule as the bundle's contract states it."""
        return StickyGripper(self.contract.gripper_threshold, self.contract.gripper_steps)
