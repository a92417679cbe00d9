"""The ablation of MQE that has an expectile in place of action invariance."""

from __future__ import annotations

from torch import Tensor

from mqe_core.learning.networks.values import expectile_loss


def expectile_pairs(state_distance: Tensor, action_distance: Tensor, expectile: float) -> Tensor:
    """V(s_i) of g_j regressed on the upper expectile of Q(s_i, a_i), of ``d(s_i, g_j), d((s_i, a_i), g_j)``, all ``(E,
    B, B)``: ``|kappa - 1(Q < V)| (Q - V)^2`` with ``V = exp(-d)``, Q alike and without gradient.

    It takes the place of action invariance in the paper's ablation, whose code is not published: this is our reading.
    """
    return expectile_loss((-action_distance.detach()).exp() - (-state_distance).exp(), expectile)


def mean_over_pairs(pairs: Tensor, diagonal_weight: float) -> Tensor:
    """The mean of ``(E, B, B)``, in which a row's own goal has a weight of its own."""
    own = pairs.diagonal(dim1=1, dim2=2)  # (E, B)
    return (1.0 - diagonal_weight) * pairs.mean() + diagonal_weight * own.mean()
