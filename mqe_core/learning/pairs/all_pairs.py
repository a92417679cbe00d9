"""MQE's backup loss over all pairs and what is logged of them, in one pass over blocks of rows that stay in the cache.

Matrices are ``(E, B, B)``; the diagonal holds a row's own goal. The loss of one pair is `agents.mqe.backup_loss_pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NUMBERS = 2**16  # in a block on the CPU: 256 KB


def mean_backup_loss(
    distance: Tensor, target: Tensor, log_weight: Tensor, linex_clip: float, diagonal_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; what it has above its minimum; the share of pairs that are clipped. Only the loss has a gradient.

    ``log_weight (B,)``: k log(discount). The first two are means in which own goals weigh ``diagonal_weight`` in all.
    """
    return _MeanBackupLoss.apply(distance, target, log_weight, linex_clip, diagonal_weight)


def collapse_alarms(distance: Tensor, psi_goal: Tensor) -> dict[str, Tensor]:
    """A constant representation has zero loss, so these are watched instead: ``distance (E, B, B)``, ``psi_goal (E, B,
    D)``.
    """
    own, others, deviation, nearest = statistics(distance)
    return {
        "distance_own_goal": own,
        "distance_mean": others,
        "distance_std": deviation,
        "own_goal_accuracy": nearest,
        "psi_spread": (psi_goal - psi_goal.mean(1, keepdim=True)).square().mean(1).sqrt().mean(),
    }


def statistics(distance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean over own goals; mean and standard deviation over the others (0 where there are none); and in what share
    of rows the own goal is the nearest.
    """
    members, rows, _ = distance.shape
    own = distance.diagonal(dim1=1, dim2=2)  # (E, B)
    shift = own.mean()
    total, squares, nearest = (distance.new_zeros((), dtype=torch.float64) for _ in range(3))
    for block in _blocks(distance):
        shifted = distance[:, block] - shift
        total += shifted.sum()
        squares += shifted.square_().sum()
        numbers = torch.arange(block.start, block.stop, device=distance.device)
        nearest += (distance[:, block].argmin(2) == numbers).sum()
    others = members * rows * (rows - 1)
    own_shifted = (own - shift).double()
    mean = (total - own_shifted.sum()) / max(others, 1)
    variance = ((squares - own_shifted.square().sum()) - others * mean.square()).clamp(min=0.0) / max(others - 1, 1)
    scale = 1.0 if rows > 1 else 0.0
    mean, deviation = (mean + shift) * scale, variance.sqrt() * scale
    return shift, mean.to(distance.dtype), deviation.to(distance.dtype), (nearest / (members * rows)).to(distance.dtype)


def _blocks(distance: Tensor) -> Iterator[slice]:
    members, rows, columns = distance.shape
    size = rows if distance.is_cuda else max(1, NUMBERS // (members * columns))
    return (slice(begin, min(begin + size, rows)) for begin in range(0, rows, size))


class _MeanBackupLoss(torch.autograd.Function):
    """The gradient is known as soon as the loss is: ``expm1(u)`` where a pair is not clipped, else 1."""

    @staticmethod
    def forward(
        ctx: Any, distance: Tensor, target: Tensor, log_weight: Tensor, linex_clip: float, diagonal_weight: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        members, rows, _ = distance.shape
        slopes = torch.empty_like(distance) if ctx.needs_input_grad[0] else None
        loss, excess, clipped = (distance.new_zeros((), dtype=torch.float64) for _ in range(3))
        every, own = (1.0 - diagonal_weight) / distance.numel(), diagonal_weight / (members * rows)
        for block in _blocks(distance):
            difference = distance[:, block] - target[:, block]
            over = difference > linex_clip
            from_minimum = difference.clamp(max=linex_clip) + log_weight[block, None]  # u
            slope = torch.expm1(from_minimum)
            optimum = (1.0 + log_weight[block, None]) - target[:, block]  # the loss of a pair at its minimum
            above = torch.where(over, difference, slope - from_minimum)
            losses = torch.where(over, difference, above + optimum)
            for pairs, total in ((losses, loss), (above, excess)):
                total += every * pairs.sum() + own * _own(pairs, block).sum()
            clipped += over.sum()
            if slopes is not None:
                slope.masked_fill_(over, 1.0)
                torch.mul(slope, every, out=slopes[:, block])
                _own(slopes[:, block], block).add_(_own(slope, block), alpha=own)
        ctx.save_for_backward(slopes)
        answers = loss, excess, clipped / distance.numel()
        loss, excess, clipped = (answer.to(distance.dtype) for answer in answers)
        ctx.mark_non_differentiable(excess, clipped)
        return loss, excess, clipped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * grad, None, None, None, None


def _own(pairs: Tensor, block: slice) -> Tensor:
    """``(E, b)``: the own goals of a block of rows, ``(E, b, B)``."""
    return pairs.diagonal(offset=block.start, dim1=1, dim2=2)
