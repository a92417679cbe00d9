"""A policy that drives before the script takes over: what it gets wrong is where demonstrations are wanted (HG-DAgger, Kelly et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime.policy import OnnxPolicy
from mqe_sim.tasks import make_task
from mqe_sim.world import World

_STEPS = (8, 60)  # half-open range: to the first grasp, or to where a policy has long been stuck


class Driver:
    """The policy `bundle` on its way to the goal of a whole task, whatever stage of it is to be shown.

    `steps`: how many it drives. Made before the scene, whose `world` it uses to render the goal, (height, width, 3) of `size`.
    """

    def __init__(
        self, bundle: PolicyBundle, world: World, task: str, seed: int, size: tuple[int, int], rng: np.random.Generator, randomise: Sequence[str]
    ) -> None:
        self.steps = int(rng.integers(*_STEPS))
        self._policy = OnnxPolicy(bundle)
        self._gripper = self._policy.gripper_rule()
        make_task(task, world, seed, randomise=randomise).solve()
        self._goal = world.render(*size)

    def act(self, image: np.ndarray) -> np.ndarray:
        """Bridge action (7,) for a camera image, (height, width, 3) uint8 RGB."""
        action = self._policy.act(image, self._goal).action.astype(np.float64)
        return np.append(action[:6], self._gripper(float(action[6])))
