"""A goal in few numbers, for a policy and a critic that are to be asked for a goal that a network made up.

As HIQL's goal representation (arXiv 2307.11949, phi), but of the goal alone, so that a critic can compare two of them.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mqe_core.learning.networks.layers import gelu

_HIDDEN = 256


class Bottleneck(nn.Module):
    """Features in ``size`` numbers whose mean is 0 and whose variance is 1, ``(..., features) -> (..., size)``."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.hidden, self.out = nn.Linear(features, _HIDDEN), nn.Linear(_HIDDEN, size)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.layer_norm(gelu(self.hidden(features)), (_HIDDEN,))
        return F.layer_norm(self.out(hidden), (self.size,))
