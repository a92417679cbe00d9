"""The IQE distance is a quasimetric and equals its definition, the length of a union of intervals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mqe_core.learning.quasimetric import iqe_distance

SCALES = [1e-4, 1e-2, 1.0, 1e2, 1e4]
MIX = torch.tensor(0.3)


def slow_union(x: Tensor, y: Tensor) -> float:
    """``(c,), (c,)``: the length of the union of the intervals from x to y where y is larger."""
    total, reached = 0.0, -float("inf")
    for begin, end in sorted((float(a), float(b)) for a, b in zip(x, y) if b > a):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def all_pairs(x: Tensor, y: Tensor) -> Tensor:
    return iqe_distance(x[:, None], y[None], 4, MIX)


def test_it_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 12, generator=generator), torch.randn(6, 12, generator=generator)
    y[0], y[1, :6] = x[0], x[1, :6]
    unions = torch.tensor([[slow_union(a[k : k + 4], b[k : k + 4]) for k in (0, 4, 8)] for a, b in zip(x, y)])
    share = MIX.sigmoid()
    expected = share * unions.mean(1) + (1 - share) * unions.amax(1)
    torch.testing.assert_close(iqe_distance(x, y, 4, MIX), expected)


@given(st.integers(0, 2**31), st.sampled_from(SCALES), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_quasimetric_properties_hold_for_random_points(seed: int, scale: float, duplicates: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(7, 16, generator=generator, dtype=torch.float64)
    x[:duplicates] = x[4 : 4 + duplicates]
    d = all_pairs(x, x)
    assert (d >= 0).all() and d.diagonal().max() == 0
    assert (d[:, None, :] - d[:, :, None] - d[None]).max() <= 1e-12 * d.max()
    assert (d - d.T).abs().max() > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("equal", [False, True])
def test_gradients_are_finite_and_of_the_ends(scale: float, equal: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    x = (scale * torch.randn(8, 32, generator=generator)).requires_grad_()
    y = (x.detach().clone() if equal else scale * torch.randn(8, 32, generator=generator)).requires_grad_()
    gradients = torch.autograd.grad(iqe_distance(x, y, 8, MIX).sum(), (x, y))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert (gradients[0] <= 0).all() and (gradients[1] >= 0).all()  # nearer to the goal is nearer
    if equal:
        assert not any(gradient.any() for gradient in gradients)
