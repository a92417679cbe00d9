"""A policy that drives before the script takes over.

Where a policy goes wrong, demonstrations are wanted (HG-DAgger, Kelly et al., 2019).
"""

from __future__ import annotations

import numpy as np

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Floats, Images
from mqe_core.runtime.onnx_policy import OnnxPolicy

_STEPS = (8, 60)  # half-open range: to the first grasp, or to where a policy has long been stuck


class Driver:
    """The policy `bundle` on its way to `goal`, (H, W, 3) uint8 RGB, for `steps` control steps; their number is drawn.

    No safety filter clips its actions: nobody is near, and they are not recorded. Where the arm cannot follow, it stays
    where it is.
    """

    def __init__(self, bundle: PolicyBundle, goal: Images, rng: np.random.Generator) -> None:
        self.steps = int(rng.integers(*_STEPS))
        self._policy = OnnxPolicy(bundle)
        self._gripper = self._policy.gripper_rule()
        self._goal = goal
        self._last = NONE_CHOSEN

    def act(self, image: Images) -> Floats:
        """Bridge action (7,) for a camera image, (H, W, 3) uint8 RGB."""
        output = self._policy.act(image, self._goal, self._last)
        self._last = NONE_CHOSEN if output.candidates is None else output.candidates.chosen
        action = output.action
        return np.array([*action[:6], self._gripper(float(action[6]))], dtype=np.float64)
