"""The MRN distance is a quasimetric, and its fast matrix form equals the obvious one in value and gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mqe_core.learning.agents.mqe import critic_loss
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.quasimetric import mrn_distance, mrn_distance_matrix

SCALES = [1e-4, 1e-2, 1.0, 1e2, 1e4]


def slow_distance(x: Tensor, y: Tensor, components: int) -> float:
    """One pair, ``(D,), (D,)``, written as the definition says."""
    size = len(x) // components
    total = 0.0
    for k in range(components):
        z = [float(a) - float(b) for a, b in zip(x[k * size : (k + 1) * size], y[k * size : (k + 1) * size])]
        total += max(0.0, *z[: size // 2]) + math.sqrt(sum(value**2 for value in z[size // 2 :]))
    return total / components / math.sqrt(len(x))


def mixed_points(seed: int, count: int, dtype: torch.dtype) -> Tensor:
    """phi and psi outputs of small networks, duplicates and near-duplicates, points equal in one half only: ``(count',
    32)``.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        phi, psi = EnsembleMLP(1, 5, (16,), 32).to(dtype), EnsembleMLP(1, 3, (16,), 32).to(dtype)
    with torch.no_grad():
        points = torch.cat(
            [
                phi(torch.randn(count, 5, generator=generator, dtype=dtype))[0],
                psi(torch.randn(count, 3, generator=generator, dtype=dtype))[0],
            ]
        )
    half_equal = points[:4].clone()
    half_equal.view(4, 4, 2, 4)[:, :, 0] = points[4:8].view(4, 4, 2, 4)[:, :, 0]
    return torch.cat([points, points[:3], points[:3] + 1e-7, half_equal])


@pytest.mark.parametrize("components", [1, 4])
def test_both_forms_equal_the_definition(components: int) -> None:
    generator = torch.Generator().manual_seed(components)
    x, y = torch.randn(2, 5, 16, generator=generator), torch.randn(2, 7, 16, generator=generator)
    expected = torch.tensor([[[slow_distance(a, b, components) for b in y[e]] for a in x[e]] for e in range(2)])
    torch.testing.assert_close(mrn_distance_matrix(x, y, components), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(mrn_distance(x[:, :, None], y[:, None], components), expected, rtol=1e-6, atol=0)


def test_smoothing_is_added_below_the_root_in_both_forms() -> None:
    x = torch.zeros(1, 3, 8)
    x[0, :, 7] = torch.tensor([0.0, 1.0, 2.0])
    expected = ((x[0, :, None, 7] - x[0, None, :, 7]) ** 2 + 1e-6).sqrt() / math.sqrt(8)
    torch.testing.assert_close(mrn_distance_matrix(x, x, 1, 1e-6)[0], expected)
    torch.testing.assert_close(mrn_distance(x[0, :, None], x[0], 1, 1e-6), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_matrix_gradient_equals_the_broadcast_gradient(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (scale * torch.randn(2, 9, 64, generator=generator)).requires_grad_()
    y = (scale * torch.randn(2, 6, 64, generator=generator)).requires_grad_()
    weights = torch.randn(2, 9, 6, generator=generator)
    slow = torch.autograd.grad((weights * mrn_distance(x[:, :, None], y[:, None], 4)).sum(), (x, y))
    fast = torch.autograd.grad((weights * mrn_distance_matrix(x, y, 4)).sum(), (x, y))
    for ours, reference in zip(fast, slow):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", [0, 1])
def test_triangle_inequality_over_phi_and_psi_points(
    seed: int, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    points = scale * mixed_points(seed, 24, dtype)
    d = mrn_distance_matrix(points[None], points[None], 4)[0]
    violation = (d[:, None, :] - d[:, :, None] - d[None]).max()  # d(i, k) - d(i, j) - d(j, k)
    assert violation <= tolerance * d.max()


@given(st.integers(0, 2**31), st.sampled_from(SCALES), st.sampled_from([(1, 8), (2, 16), (8, 64)]), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_quasimetric_properties_hold_for_random_points(
    seed: int, scale: float, shape: tuple[int, int], duplicates: int
) -> None:
    components, latent_dim = shape
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(1, 6, latent_dim, generator=generator)
    x[:, :duplicates] = x[:, 3 : 3 + duplicates]
    d = mrn_distance_matrix(x, x, components)[0]
    assert (d >= 0).all()
    assert d.diagonal().max() <= 1e-8
    assert (d[:, None, :] - d[:, :, None] - d[None]).max() <= 1e-6 * d.max()
    off_diagonal = d[3:, 3:][~torch.eye(3, dtype=torch.bool)]
    assert (off_diagonal > 0).all()


def test_distance_depends_on_direction() -> None:
    """Moving a first-half coordinate up costs from the higher point to the lower one only (the first argument is where
    you are).
    """
    low, high = torch.zeros(8), torch.zeros(8)
    high[0] = 3.0
    assert mrn_distance(low, high, 1).item() == 0.0
    assert mrn_distance(high, low, 1).item() == pytest.approx(3.0 / math.sqrt(8))
    symmetric = torch.zeros(8)
    symmetric[7] = 3.0
    assert mrn_distance(low, symmetric, 1).item() == mrn_distance(symmetric, low, 1).item() > 0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("equal", [False, True])
def test_gradients_are_finite(scale: float, equal: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    x = (scale * torch.randn(2, 8, 32, generator=generator)).requires_grad_()
    y = (x.detach().clone() if equal else scale * torch.randn(2, 8, 32, generator=generator)).requires_grad_()
    for distance in (mrn_distance(x, y, 4), mrn_distance_matrix(x, y, 4)):
        gradients = torch.autograd.grad(distance.sum(), (x, y), retain_graph=True)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
    steps = torch.arange(8, dtype=torch.float32)
    settings = {"components": 4, "discount": 0.99, "linex_clip": 5.0, "diagonal_weight": 0.5}
    loss, metrics = critic_loss(x, y, y, y, steps, **settings)
    gradients = torch.autograd.grad(loss, (x, y))
    assert torch.isfinite(loss) and all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all(torch.isfinite(value) for value in metrics.values())


def test_large_latents_keep_small_distances() -> None:
    """At latent scale 100 a distance of about one control step is still right to 1e-4 (the Gram form is off by half a
    step).
    """
    generator = torch.Generator().manual_seed(0)
    x = 100.0 * torch.randn(1, 32, 512, generator=generator)
    y = x + 0.01 * torch.randn(1, 32, 512, generator=generator)
    exact = mrn_distance(x.double(), y.double(), 8)
    fast = mrn_distance_matrix(x, y, 8).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(fast.double(), exact, rtol=1e-4, atol=0)


def test_a_latent_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        mrn_distance(torch.zeros(24), torch.zeros(24), 8)
