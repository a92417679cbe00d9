"""The backup loss of all pairs in one pass equals the mean of the pairs' losses, and so do its gradient and metrics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mqe_core.learning.agents.mqe import backup_loss_pairs
from mqe_core.learning.pairs import all_pairs

DISCOUNT, CLIP = 0.97, 1.5


def matrices(rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Distances, targets and steps, of which about a third of the pairs are clipped."""
    generator = torch.Generator().manual_seed(rows)
    distance, target = (4.0 * torch.rand(2, rows, rows, generator=generator, dtype=dtype) for _ in range(2))
    return distance.requires_grad_(), target, torch.randint(0, 40, (rows,), generator=generator).to(dtype)


@pytest.mark.parametrize("diagonal_weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 13, 40])
def test_one_pass_equals_the_pairs(rows: int, diagonal_weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "NUMBERS", 2 * 13 * 3)  # blocks of some rows
    distance, target, steps = matrices(rows)
    log_weight = steps * math.log(DISCOUNT)
    pairs = backup_loss_pairs(distance, target, steps, DISCOUNT, CLIP)
    over = distance - target > CLIP
    above = torch.where(over, pairs, pairs - (1.0 - target + log_weight[:, None]))
    loss, excess = (
        (1.0 - diagonal_weight) * x.mean() + diagonal_weight * x.diagonal(dim1=1, dim2=2).mean() for x in (pairs, above)
    )
    (gradient,) = torch.autograd.grad(3.0 * loss, distance)
    ours = all_pairs.mean_backup_loss(distance, target, log_weight, CLIP, diagonal_weight)
    (our_gradient,) = torch.autograd.grad(3.0 * ours[0], distance)
    torch.testing.assert_close(torch.stack(ours), torch.stack([loss, excess, over.float().mean()]))
    torch.testing.assert_close(our_gradient, gradient, rtol=1e-5, atol=1e-8)
    with torch.no_grad():
        again = all_pairs.mean_backup_loss(distance, target, log_weight, CLIP, diagonal_weight)
    assert all(torch.equal(a, b) for a, b in zip(again, ours))


def test_the_gradient_is_that_of_finite_differences() -> None:
    distance, target, steps = matrices(5, torch.float64)
    assert torch.autograd.gradcheck(
        lambda d: all_pairs.mean_backup_loss(d, target, steps * math.log(DISCOUNT), CLIP, 0.3)[0], distance
    )


def test_a_far_overestimate_and_what_is_not_finite() -> None:
    """The slope is 1 where exp would overflow; NaN is in the loss, wherever it stands."""
    distance, target, steps = matrices(6)
    with torch.no_grad():
        distance[0, 1, 2] = 1e6
    loss, *_ = all_pairs.mean_backup_loss(distance, target, steps, CLIP, 0.0)
    (gradient,) = torch.autograd.grad(loss, distance)
    assert loss.isfinite() and gradient[0, 1, 2].item() == pytest.approx(1.0 / distance.numel())
    for broken in (math.nan, math.inf):
        with torch.no_grad():
            distance[1, 3, 0] = broken
        assert not all_pairs.mean_backup_loss(distance, target, steps, CLIP, 0.0)[0].isfinite()


@pytest.mark.parametrize("rows", [1, 2, 13, 40])
def test_statistics_are_those_of_the_pairs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_pairs, "NUMBERS", 2 * 13 * 3)
    distance = matrices(rows)[0].detach() + 100.0
    own, mean, deviation, nearest = all_pairs.statistics(distance)
    others = distance[:, ~torch.eye(rows, dtype=torch.bool)]
    assert own.item() == pytest.approx(distance.diagonal(dim1=1, dim2=2).mean().item())
    assert nearest.item() == pytest.approx((distance.argmin(2) == torch.arange(rows)).float().mean().item())
    assert mean.item() == pytest.approx(others.mean().item() if rows > 1 else 0.0)
    assert deviation.item() == pytest.approx(others.std().item() if rows > 1 else 0.0, rel=1e-4)
