"""Quasimetric heads: how two representations become a distance. The first argument is where you are.

``mrn`` is that of the official releases, ``mrn_paper`` equation 4 of MQE's paper, ``iqe`` the interval quasimetric
embedding (Wang and Isola, 2022), which QRL is published with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mqe_core.learning.networks.actor import CriticConfig
from mqe_core.learning.pairs.iqe_matrix import iqe_distance_matrix
from mqe_core.learning.quasimetric import iqe_distance, mrn_distance, mrn_distance_matrix, require_chunks
from mqe_core.learning.run.config import key

HEADS = ("mrn", "mrn_paper", "iqe")


class Head(nn.Module):
    """A quasimetric, ``(..., D), (..., D) -> (...)``."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Row by row; the shapes broadcast."""
        raise NotImplementedError

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """All pairs inside each member, ``(E, B, D), (E, C, D) -> (E, B, C)``."""
        raise NotImplementedError


class MRN(Head):
    """The mean over K chunks of a max half and an l2 half; divided by sqrt(D) as in MQE, or not as in TMD and CMD,
    which have ``smoothing`` below the root, too.
    """

    def __init__(self, components: int, *, divided: bool = True, smoothing: float = 0.0) -> None:
        super().__init__()
        self.components, self.divided, self.smoothing = components, divided, smoothing

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self._scaled(mrn_distance(x, y, self.components, self.smoothing), x.shape[-1])

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        return self._scaled(mrn_distance_matrix(x, y, self.components, self.smoothing), x.shape[-1])

    def _scaled(self, distance: Tensor, latent_dim: int) -> Tensor:
        return distance if self.divided else distance * math.sqrt(latent_dim)


class HalvesSwapped(Head):
    """Another head on the latent with its two halves swapped: OGBench's MRN has the l2 half first."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(self._swapped(x), self._swapped(y))

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head.matrix(self._swapped(x), self._swapped(y))

    def _swapped(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat([second, first], dim=-1)


class PaperMRN(Head):
    """Equation 4 of MQE's paper: ``(1/K) sum_k (relu(max z_k) + ||z_k||)``, both of a whole chunk, no scale."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return mrn_distance(self._twice(x), self._twice(y), self.components) * math.sqrt(2 * x.shape[-1])

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        return mrn_distance_matrix(self._twice(x), self._twice(y), self.components) * math.sqrt(2 * x.shape[-1])

    def _twice(self, x: Tensor) -> Tensor:
        """Each chunk once for the max half and once for the l2 half."""
        chunks = x.unflatten(-1, (self.components, 1, -1))
        return chunks.expand(*chunks.shape[:-2], 2, chunks.shape[-1]).flatten(-3)


class IQE(Head):
    """``a mean + (1 - a) max`` over components of the length of a union of intervals; a is learned, 1/2 at first."""

    def __init__(self, component_dim: int) -> None:
        super().__init__()
        self.component_dim = component_dim
        self.mix = nn.Parameter(torch.zeros(()))  # sigmoid: a

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return iqe_distance(x, y, self.component_dim, self.mix)

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        return iqe_distance_matrix(x, y, self.component_dim, self.mix)


@dataclass(frozen=True)
class HeadConfig(CriticConfig):
    """Keys of every agent whose critic is a quasimetric."""

    head: str = key(
        "mrn",
        "the quasimetric: mrn (official halves), mrn_paper (MQE's equation 4), iqe (intervals)",
        choices=HEADS,
        group="critic",
    )
    latent_dim: int = key(512, "D: numbers in a representation", group="critic")
    components: int = key(8, "K: chunks of the representation, in an MRN", group="critic")
    component_dim: int = key(8, "numbers in a component, in an IQE", group="critic")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head == "mrn":
            require_chunks(self.latent_dim, self.components)
            return
        name = "components" if self.head == "mrn_paper" else "component_dim"
        size = getattr(self, name)
        if size < 1 or self.latent_dim % size:
            raise ValueError(f"latent_dim ({self.latent_dim}) must be a multiple of {name} ({size})")

    def make_head(self, *, divided: bool = True, smoothing: float = 0.0) -> Head:
        """The head; ``divided`` and ``smoothing`` are of the official MRN, see there."""
        if self.head == "mrn":
            return MRN(self.components, divided=divided, smoothing=smoothing)
        return PaperMRN(self.components) if self.head == "mrn_paper" else IQE(self.component_dim)
