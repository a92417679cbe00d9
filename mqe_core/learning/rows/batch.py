"""The typed batch that an agent's update receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B rows of training data.

    A row is a transition, that is an observation and its action, with further frames of the data: goals, a waypoint.
    Which ones there are, by name, is what the agent asked for in ``Agent.frames``; "observation" is always there.
    """

    frames: Mapping[str, Tensor]  # what is seen in each: (B, H, W, 3) uint8 or (B, S) float32, all alike
    # (B,) float32 for each: control steps from the observation to it. 0 where it is the observation itself, and without
    # meaning where it lies in another episode.
    steps: Mapping[str, Tensor]
    actions: Tensor  # (B, A) float32, normalised to [-1, 1]
    # (P, 2) int64: rows, and the rows whose actor goals the policy is trained towards there; None: their own
    actor_pairs: Tensor | None = None
    landmarks: Tensor | None = None  # (B, 7) float32: see landmarks.py; None where nobody asked for them
    # (B, 2) int64: number of the row's scene, and the observation's among all frames; None where nobody asked for them
    origin: Tensor | None = None
    # On several ranks: the rows whose frames are there, where each loads its own. Others hold nothing; what an image
    # encoder makes of them comes from their ranks.
    own: slice | None = None

    def __post_init__(self) -> None:
        observations, rows = self.frames["observation"], len(self.actions)
        assert self.actions.ndim == 2 and self.actions.dtype in (torch.float32, torch.float64)
        assert self.steps.keys() == self.frames.keys(), "every frame has its steps"
        for name, seen in self.frames.items():
            assert len(seen) == rows and self.steps[name].shape == (rows,), f"{name} needs one frame per transition"
            assert seen.shape == observations.shape and seen.dtype == observations.dtype, f"{name} is of another kind"
        assert self.landmarks is None or len(self.landmarks) == rows
        assert self.actor_pairs is None or (self.actor_pairs.shape[1] == 2 and len(self.actor_pairs) >= rows), (
            "each row meets its own goal at least"
        )

    @property
    def rows_and_goals(self) -> tuple[Tensor, Tensor]:
        """``(P,), (P,)``: the numbers of ``actor_pairs``."""
        if self.actor_pairs is None:
            own = torch.arange(len(self.actions), device=self.actions.device)
            return own, own
        return self.actor_pairs[:, 0], self.actor_pairs[:, 1]

    @property
    def pair_weights(self) -> Tensor:
        """``(P,)``, summing to 1: every row counts the same, however many goals it meets."""
        (row, _), rows = self.rows_and_goals, len(self.actions)
        ones = self.actions.new_ones(len(row))
        goals = self.actions.new_zeros(rows).index_add_(0, row, ones)  # of each row; a bincount would wait for a GPU
        return 1.0 / (rows * goals[row])

    def first(self, rows: int) -> Batch:
        """The batch of its first rows alone."""
        pairs = self.actor_pairs
        return replace(
            self,
            frames={name: seen[:rows] for name, seen in self.frames.items()},
            steps={name: steps[:rows] for name, steps in self.steps.items()},
            actions=self.actions[:rows],
            actor_pairs=None if pairs is None else pairs[(pairs < rows).all(dim=1)],
            landmarks=None if self.landmarks is None else self.landmarks[:rows],
            origin=None if self.origin is None else self.origin[:rows],
        )

    def tensors(self) -> list[Tensor]:
        """All that are there, in one order."""
        optional = (self.actor_pairs, self.landmarks, self.origin)
        there = [value for value in optional if value is not None]
        return [*self.frames.values(), *self.steps.values(), self.actions, *there]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device, non_blocking=True)

        return replace(
            self,
            frames={name: moved(value) for name, value in self.frames.items()},
            steps={name: moved(value) for name, value in self.steps.items()},
            actions=moved(self.actions),
            actor_pairs=None if self.actor_pairs is None else moved(self.actor_pairs),
            landmarks=None if self.landmarks is None else moved(self.landmarks),
            origin=None if self.origin is None else moved(self.origin),
        )
