"""The typed batch that an agent's update receives."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B rows of training data. An observation is ``(B, H, W, 3) uint8`` or ``(B, S) float32``, and so are all goals."""

    observations: Tensor
    actions: Tensor  # (B, A) float32, normalised to [-1, 1]
    waypoints: Tensor
    waypoint_steps: Tensor  # (B,) float32, control steps from the observation to the waypoint
    value_goals: Tensor
    at_value_goal: Tensor  # (B,) bool, the value goal is the observation itself, by index
    actor_goals: Tensor

    def __post_init__(self) -> None:
        rows = self.observations.shape[0]
        assert all(getattr(self, f.name).shape[0] == rows for f in fields(self)), "every field has one row per transition"
        for goals in (self.waypoints, self.value_goals, self.actor_goals):
            assert goals.shape == self.observations.shape and goals.dtype == self.observations.dtype
        assert self.actions.ndim == 2 and self.actions.dtype == torch.float32
        assert self.waypoint_steps.shape == (rows,)
        assert self.at_value_goal.dtype == torch.bool

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})
