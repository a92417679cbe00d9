"""A policy that drives before the script takes over: what it gets wrong is where demonstrations are wanted (HG-DAgger, Kelly et al., 2019)."""

from __future__ import annotations

import numpy as np

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime.policy import OnnxPolicy

_STEPS = (8, 60)  # half-open range: to the first grasp, or to where a policy has long been stuck


class Driver:
    """The policy `bundle` on its way to `goal`, (H, W, 3) uint8 RGB, for `steps` control steps, drawn.

    No safety filter clips it, as nobody is near and what it does is not recorded; where the arm cannot follow, that stays.
    """

    def __init__(self, bundle: PolicyBundle, goal: np.ndarray, rng: np.random.Generator) -> None:
        self.steps = int(rng.integers(*_STEPS))
        self._policy = OnnxPolicy(bundle)
        self._gripper = self._policy.gripper_rule()
        self._goal = goal

    def act(self, image: np.ndarray) -> np.ndarray:
        """Bridge action (7,) for a camera image, (H, W, 3) uint8 RGB."""
        action = self._policy.act(image, self._goal).action.astype(np.float64)
        return np.append(action[:6], self._gripper(float(action[6])))
