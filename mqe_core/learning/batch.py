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
    actor_pairs: Tensor | None = (
        None  # (P, 2) int64: rows, and the rows whose actor goals the policy is trained towards there; None: their own
    )
    landmarks: Tensor | None = None  # (B, 7) float32: see landmarks.py; None where nobody asked for them

    def __post_init__(self) -> None:
        rows = self.observations.shape[0]
        per_row = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "actor_pairs"}
        assert all(value is None or value.shape[0] == rows for value in per_row.values()), (
            "every field has one row per transition"
        )
        assert self.actor_pairs is None or (self.actor_pairs.shape[1] == 2 and len(self.actor_pairs) >= rows), (
            "each row meets its own goal at least"
        )
        for goals in (self.waypoints, self.value_goals, self.actor_goals):
            assert goals.shape == self.observations.shape and goals.dtype == self.observations.dtype
        assert self.actions.ndim == 2 and self.actions.dtype == torch.float32
        assert self.waypoint_steps.shape == (rows,)
        assert self.at_value_goal.dtype == torch.bool

    @property
    def rows_and_goals(self) -> tuple[Tensor, Tensor]:
        """``(P,), (P,)``: the numbers of ``actor_pairs``."""
        own = torch.arange(len(self.actions), device=self.actions.device)
        return (own, own) if self.actor_pairs is None else self.actor_pairs.unbind(1)

    @property
    def pair_weights(self) -> Tensor:
        """``(P,)``, summing to 1: every row counts the same, however many goals it meets."""
        (row, _), rows = self.rows_and_goals, len(self.actions)
        return 1.0 / (rows * torch.bincount(row, minlength=rows)[row].float())

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            **{name: value.to(device, non_blocking=True) for name, value in vars(self).items() if value is not None},
        )
