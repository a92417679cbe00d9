"""Networks behind the encoders: an ensemble of MLPs with stacked weights, and the mean of the Gaussian actor.

Initialisation and layer order follow the official Flax code: Xavier-uniform kernels with zero biases, tanh-approximated
GELU, LayerNorm (eps 1e-6) after the activation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mqe_core.learning.networks.convolutions import xavier_init


def gelu(x: Tensor) -> Tensor:
    """Flax's default GELU, the tanh approximation."""
    return F.gelu(x, approximate="tanh")


class EnsembleLinear(nn.Module):
    """E independent linear layers as one batched product, ``(E, B, in) -> (E, B, out)``."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (in_features + out_features))  # Xavier uniform, per member
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, out_features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleLayerNorm(nn.Module):
    """LayerNorm over the last axis with its own gain and bias per member, ``(E, B, D) -> (E, B, D)``."""

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, features))
        self.bias = nn.Parameter(torch.zeros(members, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:], eps=1e-6), self.gain)


class EnsembleMLP(nn.Module):
    """E independent MLPs, ``(B, in) -> (E, B, out)``: (linear, GELU, LayerNorm) per hidden layer, then a plain linear
    layer. Without ``layer_norm`` the LayerNorm is left out.
    """

    def __init__(
        self,
        members: int,
        in_features: int,
        hidden_dims: Sequence[int],
        out_features: int,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.members = members
        widths = [in_features, *hidden_dims]
        self.hidden = nn.ModuleList(EnsembleLinear(members, a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(EnsembleLayerNorm(members, b) if layer_norm else nn.Identity() for b in widths[1:])
        self.head = EnsembleLinear(members, widths[-1], out_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(0).expand(self.members, -1, -1)  # (E, B, in)
        for linear, norm in zip(self.hidden, self.norms):
            x = norm(gelu(linear(x)))
        return self.head(x)

    def of_candidates(self, shared: Tensor, own: Tensor) -> Tensor:
        """``(B, S), (B, N, C) -> (E, B, N, out)``: as of ``shared`` beside each of N ``own``, with the first layer's
        share of what they have in common computed once.
        """
        first, width = self.hidden[0], shared.shape[-1]
        assert isinstance(first, EnsembleLinear)
        common = torch.baddbmm(first.bias, shared.expand(self.members, -1, -1), first.weight[:, :width])  # (E, B, H)
        x = torch.matmul(own, first.weight[:, None, width:]) + common[:, :, None]  # (E, B, N, H)
        x = self.norms[0](gelu(x.flatten(1, 2)))
        for linear, norm in zip(self.hidden[1:], self.norms[1:]):
            x = norm(gelu(linear(x)))
        return self.head(x).unflatten(1, own.shape[:2])


class MeanActor(nn.Module):
    """Mean of the unit-variance Gaussian policy, ``(B, in) -> (B, A)``, not squashed: GELU after each hidden layer,
    then LayerNorm if asked for.
    """

    def __init__(self, in_features: int, hidden_dims: Sequence[int], action_dim: int, layer_norm: bool = False) -> None:
        super().__init__()
        widths = [in_features, *hidden_dims]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(b) if layer_norm else nn.Identity() for b in widths[1:])
        self.head = nn.Linear(widths[-1], action_dim)
        self.apply(xavier_init)
        with torch.no_grad():
            self.head.weight.mul_(0.1)  # variance scale 1e-2, so the first actions are near the middle of the range

    def forward(self, x: Tensor) -> Tensor:
        for linear, norm in zip(self.hidden, self.norms):
            x = norm(gelu(linear(x)))
        return self.head(x)

    def shared(self, features: Tensor) -> Tensor:
        """``(B, S) -> (B, H)``: the first layer's share of the first S of its inputs, bias included."""
        first = self.hidden[0]
        assert isinstance(first, nn.Linear)
        return F.linear(features, first.weight[:, : features.shape[-1]], first.bias)

    def of_candidates(self, shared: Tensor, own: Tensor) -> Tensor:
        """``(B, H), (B, N, C) -> (B, N, A)``: as of the features behind ``shared`` beside each of N ``own``."""
        first = self.hidden[0]
        assert isinstance(first, nn.Linear)
        x = shared[:, None] + F.linear(own, first.weight[:, first.in_features - own.shape[-1] :])
        x = self.norms[0](gelu(x))
        for linear, norm in zip(self.hidden[1:], self.norms[1:]):
            x = norm(gelu(linear(x)))
        return self.head(x)
