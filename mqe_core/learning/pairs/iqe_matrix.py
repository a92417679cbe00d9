"""The interval quasimetric embedding of all pairs of a batch, block by block of rows.

The length of a union of intervals is a sweep over their begins, and those come from one side alone: they are sorted
once per row, not once per pair. What a pair needs is computed again in the backward pass, so that memory holds one
block.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 1 << 21  # numbers in a block's largest tensor, (E, rows, C, D); more leave the cache


def iqe_distance_matrix(x: Tensor, y: Tensor, component_dim: int, mix: Tensor) -> Tensor:
    """``(E, B, D), (E, C, D) -> (E, B, C)``, equal to ``iqe_distance(x[:, :, None], y[:, None], component_dim, mix)``
    without that form's (E, B, C, D) tensor, forward and backward.
    """
    return _AllPairs.apply(x, y, mix, component_dim)


def _rows(x: Tensor, y: Tensor) -> Iterator[slice]:
    """The rows of each block."""
    rows = max(1, BLOCK // max(1, y.numel()))
    return (slice(i, i + rows) for i in range(0, x.shape[1], rows))


def _block(x: Tensor, y: Tensor, mix: Tensor, component_dim: int) -> Tensor:
    """``(E, b, D), (E, C, D) -> (E, b, C)`` through an (E, b, D, C) tensor."""
    begins, order = x.unflatten(-1, (-1, component_dim)).sort(dim=-1)  # (E, b, D / c, c)
    # The ends in each row's order: a product with a permutation is exact, and many times faster than a gather.
    permutations = F.one_hot(order, component_dim).to(y.dtype)  # (E, b, D / c, c, c)
    ends = permutations @ y.unflatten(-1, (-1, component_dim)).permute(0, 2, 3, 1)[:, None]  # (E, b, D / c, c, C)
    covered, reached = torch.zeros((), dtype=y.dtype, device=y.device), begins[..., 0, None]
    for begin, end in zip(begins[..., None].unbind(-2), ends.unbind(-2)):
        covered = covered + (end - torch.maximum(begin, reached)).relu()
        reached = torch.maximum(reached, end)
    share = mix.sigmoid()
    return share * covered.mean(2) + (1.0 - share) * covered.amax(2)


class _AllPairs(torch.autograd.Function):
    """All blocks; the backward pass computes each again, with its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, mix: Tensor, component_dim: int) -> Tensor:
        ctx.save_for_backward(x, y, mix)
        ctx.component_dim = component_dim
        return torch.cat([_block(x[:, rows], y, mix, component_dim) for rows in _rows(x, y)], dim=1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, y, mix = ctx.saved_tensors
        grad_x, grad_y, grad_mix = [], torch.zeros_like(y), torch.zeros_like(mix)
        for rows in _rows(x, y):
            x_rows, ends, share = (tensor.detach().requires_grad_() for tensor in (x[:, rows], y, mix))
            with torch.enable_grad():
                distance = _block(x_rows, ends, share, ctx.component_dim)
            of_x, of_y, of_mix = torch.autograd.grad(distance, (x_rows, ends, share), grad[:, rows])
            grad_x.append(of_x)
            grad_y += of_y
            grad_mix += of_mix
        return torch.cat(grad_x, dim=1), grad_y, grad_mix, None
