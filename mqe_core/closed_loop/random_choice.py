"""The control of a policy that chooses: the same candidates, and chance in place of the critic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Images
from mqe_core.runtime.onnx_policy import OnnxPolicy
from mqe_core.runtime.policy_side import PolicyOutput


class RandomChoice:
    """The policy with one of its candidates drawn anew at every step, all alike; the same seed draws the same."""

    def __init__(self, policy: OnnxPolicy, seed: int) -> None:
        self.domain = policy.domain
        self._policy = policy
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Images, goal: Images, last: int = NONE_CHOSEN) -> PolicyOutput:
        """As the policy's, but for which candidate it is; what was chosen last is nothing to chance."""
        output = self._policy.act(observation, goal)
        assert output.candidates is not None, "its contract says that it chooses"
        chosen = int(self._rng.integers(len(output.candidates.actions)))
        return replace(
            output,
            action=output.candidates.actions[chosen],
            candidates=replace(output.candidates, chosen=chosen),
        )
