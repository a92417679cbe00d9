"""What a day of takeovers is: scenes of the sim, each driven by a policy, and then by an operator where that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

POLICY, OPERATOR, NOBODY = "policy", "operator", "nobody"
LONGEST_S = 40.0  # that the operator drives in one scene
STILL_S = 0.8  # he stays at the end: what to do at the goal is to stay


@dataclass(frozen=True)
class SceneOutcome:
    """Who solved the scene, and seconds that each of them drove."""

    scene_seed: int
    solved_by: str
    policy_s: float
    operator_s: float


class Day(Protocol):
    """Scenes that are played one after the other into one recording."""

    def play(self, seed: int, patience_s: float) -> SceneOutcome:
        """One scene: an episode, kept where the operator solved it. The policy has `patience_s`."""

    def close(self) -> None:
        """End the recording."""
