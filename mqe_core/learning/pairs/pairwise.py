"""The two halves of the pairwise MRN distance in torch, for a GPU and where nothing compiles.

Both work on G groups, one per ensemble member and component, and in blocks of rows: ``(G, B, h), (G, C, h) -> (G, B,
C)``. No tensor of size (G, B, C, h) exists, neither forward nor backward; autograd would keep or rebuild one, and so
would the backward of ``torch.cdist`` on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows of a block on the CPU: with 64 the slabs of a pass stay in the cache.
ROWS_ON_CPU = 64
# Numbers in the largest tensor of a block on a GPU, where launches cost more than memory: 64 MB.
NUMBERS_ON_GPU = 2**24


def _blocks(rows: int, size: int) -> Iterator[slice]:
    return (slice(begin, min(begin + size, rows)) for begin in range(0, rows, size))


def _rows_on_gpu(x: Tensor, y: Tensor) -> int:
    groups, columns, half = y.shape
    return max(1, NUMBERS_ON_GPU // max(1, groups * columns * half))


def _winner_type(half: int) -> torch.dtype:
    return torch.uint8 if half < 256 else torch.int16


class PositiveMax(torch.autograd.Function):
    """``max(0, max_i x[:, b, i] - y[:, c, i])`` for all pairs.

    The forward keeps 1 + the coordinate that won (0 where none was positive), in one byte per pair where that is
    enough; the backward adds each pair's gradient to that coordinate.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.half = x.shape[-1]
        best, winner = (_max_by_slabs if x.is_cuda else _max_by_coordinates)(
            x, y, ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        )
        ctx.save_for_backward(winner)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (winner,) = ctx.saved_tensors
        return (_gradient_by_slabs if grad.is_cuda else _gradient_by_scatter)(grad, winner, ctx.half)


def _max_by_coordinates(x: Tensor, y: Tensor, with_winner: bool) -> tuple[Tensor, Tensor | None]:
    """One coordinate after the other, each a contiguous slab of (G, block, C)."""
    groups, rows, half = x.shape
    columns = y.shape[1]
    x, y = x.transpose(1, 2).contiguous(), y.transpose(1, 2).contiguous()  # (G, h, B), (G, h, C)
    best = x.new_empty(groups, rows, columns)
    winner = torch.empty(best.shape, dtype=_winner_type(half)) if with_winner else None
    for block in _blocks(rows, ROWS_ON_CPU):
        largest = x.new_zeros(groups, block.stop - block.start, columns)
        difference = torch.empty_like(largest)
        won = torch.zeros(largest.shape, dtype=_winner_type(half))
        larger = torch.empty(largest.shape, dtype=torch.uint8)
        for i in range(half):
            torch.sub(x[:, i, block, None], y[:, i, None, :], out=difference)
            if with_winner:
                torch.gt(difference, largest, out=larger.view(torch.bool))
                if won.dtype == torch.uint8:
                    # i only grows, so the latest winner is the largest: byte-wise maximum is several times faster than
                    # a masked write.
                    torch.maximum(won, larger.mul_(i + 1), out=won)
                else:
                    won.masked_fill_(larger.view(torch.bool), i + 1)
            torch.maximum(largest, difference, out=largest)
        best[:, block] = largest
        if winner is not None:
            winner[:, block] = won
    return best, winner


def _max_by_slabs(x: Tensor, y: Tensor, with_winner: bool) -> tuple[Tensor, Tensor | None]:
    """All coordinates of a block of rows at once: few launches."""
    best = x.new_empty(x.shape[0], x.shape[1], y.shape[1])
    kind = _winner_type(x.shape[-1])
    winner = torch.empty(best.shape, dtype=kind, device=x.device) if with_winner else None
    for block in _blocks(x.shape[1], _rows_on_gpu(x, y)):
        largest, coordinate = (x[:, block, None] - y[:, None]).max(-1)
        best[:, block] = largest.relu()
        if winner is not None:
            winner[:, block] = (coordinate + 1) * (largest > 0.0)
    return best, winner


def _gradient_by_scatter(grad: Tensor, winner: Tensor, half: int) -> tuple[Tensor, Tensor]:
    groups, rows, columns = grad.shape
    # Index 0 collects the pairs where no coordinate was positive; it is dropped.
    grad_x, grad_y = grad.new_zeros(groups, rows, half + 1), grad.new_zeros(groups, half + 1, columns)
    for block in _blocks(rows, ROWS_ON_CPU):
        index = winner[:, block].long()
        grad_x[:, block].scatter_add_(2, index, grad[:, block])
        grad_y.scatter_add_(1, index, grad[:, block])
    return grad_x[:, :, 1:], -grad_y[:, 1:].transpose(1, 2)


def _gradient_by_slabs(grad: Tensor, winner: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Sums in a fixed order; a GPU's scatter has none, and two runs of one seed would differ."""
    coordinates = torch.arange(1, half + 1, dtype=winner.dtype, device=grad.device)
    grad_x, grad_y = grad.new_empty(*grad.shape[:2], half), grad.new_zeros(grad.shape[0], grad.shape[2], half)
    for block in _blocks(grad.shape[1], _rows_on_gpu(grad_x, grad_y)):
        share = grad[:, block, :, None] * (winner[:, block, :, None] == coordinates)  # (G, block, C, h)
        grad_x[:, block] = share.sum(2)
        grad_y -= share.sum(1)
    return grad_x, grad_y


class Norm(torch.autograd.Function):
    """``sqrt(||x[:, b] - y[:, c]||^2 + smoothing)`` for all pairs; where that is 0 the gradient is 0.

    The differences are direct: the Gram form |x|^2 + |y|^2 - 2xy is off by 2e-3 at latent scale 100, half a control
    step. The backward is two matrix products in float64, whose digits make up for a difference of large numbers.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, smoothing: float) -> Tensor:
        norm = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        if smoothing:
            norm = norm.square_().add_(smoothing).sqrt_()
        ctx.save_for_backward(x, y, norm)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y, norm = ctx.saved_tensors
        size = _rows_on_gpu(x, y) if grad.is_cuda else ROWS_ON_CPU
        exact_x, exact_y = x.double(), y.double()
        grad_x, grad_y = torch.empty_like(exact_x), torch.zeros_like(exact_y)
        for block in _blocks(x.shape[1], size):
            weights = torch.where(norm[:, block] > 0.0, grad[:, block] / norm[:, block], 0.0).double()  # (G, block, C)
            rows = exact_x[:, block]
            grad_x[:, block] = rows * weights.sum(2, keepdim=True) - weights @ exact_y
            grad_y += exact_y * weights.sum(1)[..., None] - weights.transpose(1, 2) @ rows
        return grad_x.to(x.dtype), grad_y.to(y.dtype), None
