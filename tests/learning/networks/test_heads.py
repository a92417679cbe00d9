"""Promise: each quasimetric head is one, row by row and for all pairs, to float32, with gradients that are finite."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mqe_core.learning import quasimetric
from mqe_core.learning.agents.mqe import critic_loss
from mqe_core.learning.agents.qrl import QRLConfig
from mqe_core.learning.networks.heads import HEADS, IQE, MRN, Head, HeadConfig, PaperMRN
from mqe_core.learning.pairs import iqe_matrix

LATENT = 16
SCALES = [1e-4, 1e-2, 1.0, 1e2, 1e4]
SIZES = {"latent_dim": LATENT, "components": 2, "component_dim": 4}
HEADS_OF: dict[str, Callable[[], Head]] = {
    **{name: (lambda name=name: HeadConfig(head=name, **SIZES).make_head()) for name in HEADS},
    "mrn of tmd": lambda: HeadConfig(head="mrn", **SIZES).make_head(divided=False),
    "mrn of qrl": lambda: QRLConfig(head="mrn", latent_dim=LATENT).make_head(),
}


@pytest.fixture(params=sorted(HEADS_OF))
def head(request: pytest.FixtureRequest) -> Head:
    return made(request.param)


def made(name: str) -> Head:
    head = HEADS_OF[name]()
    for parameter in head.parameters():
        parameter.data.fill_(0.3)
    return head


def points(seed: int, scale: float, count: int = 7, duplicates: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """``(2, count, D)``; so many of the first equal others, and one differs from another in a single number."""
    x = scale * torch.randn(2, count, LATENT, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    x[:, :duplicates] = x[:, 4 : 4 + duplicates]
    x[:, 3] = x[:, 6]
    x[:, 3, seed % LATENT] += scale
    return x


@pytest.mark.parametrize("name", sorted(HEADS_OF))
@given(seed=st.integers(0, 2**31), scale=st.sampled_from(SCALES), duplicates=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_it_is_a_quasimetric(name: str, seed: int, scale: float, duplicates: int) -> None:
    x = points(seed, scale, duplicates=duplicates)
    d = made(name).matrix(x, x).detach()
    assert (d >= 0).all() and d.diagonal(dim1=1, dim2=2).max() <= 1e-6 * d.max()
    violation = d[:, :, None, :] - d[:, :, :, None] - d[:, None]  # d(i, k) - d(i, j) - d(j, k)
    assert violation.max() <= 1e-5 * d.max()
    assert (d - d.transpose(1, 2)).abs().max() > 1e-3 * d.max()
    same = made(name)(x, x)
    assert torch.equal(same, torch.zeros_like(same))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_it_is_right_to_float32(head: Head, scale: float) -> None:
    """Also between points that are near each other and far from the origin."""
    x, y = points(0, scale, dtype=torch.float64), points(1, scale, dtype=torch.float64)
    exact = head.double().matrix(x, y)
    torch.testing.assert_close(head.float().matrix(x.float(), y.float()).double(), exact, rtol=1e-5, atol=1e-5 * scale)
    near = x + 1e-3 * scale * y
    exact = head.double()(x.float().double(), near.float().double())
    torch.testing.assert_close(head.float()(x.float(), near.float()).double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", SCALES)
def test_all_pairs_are_the_rows_with_the_same_gradients(
    head: Head, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iqe_matrix, "BLOCK", 300)  # two rows a block
    x, y = (z.requires_grad_() for z in (points(0, scale), points(1, scale, count=8)))
    weights = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(2))
    inputs = (x, y, *head.parameters())
    rows, pairs = head(x[:, :, None], y[:, None]), head.matrix(x, y)
    torch.testing.assert_close(pairs, rows, rtol=1e-5, atol=0)
    slow, fast = (torch.autograd.grad((weights * d).sum(), inputs) for d in (rows, pairs))
    for ours, reference in zip(fast, slow):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-6 * max(1.0, float(reference.abs().max())))


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_are_finite_at_ties(head: Head, scale: float) -> None:
    x = points(3, scale).requires_grad_()
    y = x.detach().clone().requires_grad_()
    for distance in (head(x, y), head.matrix(x, y)):
        gradients = torch.autograd.grad(distance.sum(), (x, y), retain_graph=True)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
    steps = torch.arange(7, dtype=torch.float32)
    known = {"components": 2, "discount": 0.99, "linex_clip": 5.0, "diagonal_weight": 0.5}
    loss, _ = critic_loss(x, y, y, y, steps, head=head, **known)
    assert all(torch.isfinite(gradient).all() for gradient in torch.autograd.grad(loss, (x, y)))


def test_the_first_distance_of_a_process_may_need_no_gradient() -> None:
    """The compiled form is checked, gradients included, when it is first asked for."""
    quasimetric._checked_kernel.cache_clear()
    with torch.no_grad():
        assert MRN(2).matrix(points(0, 1.0), points(1, 1.0)).shape == (2, 7, 7)


def test_the_papers_mrn_takes_both_halves_of_the_whole_chunk() -> None:
    z = torch.tensor([3.0, -4.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0])
    rows = PaperMRN(2)(z, torch.zeros(8))
    assert rows.item() == pytest.approx(((3 + 5) + (0 + 5**0.5)) / 2)
    assert PaperMRN(2).matrix(z[None, None], torch.zeros(1, 1, 8)).item() == pytest.approx(rows.item())


def test_ogbenchs_mrn_has_the_l2_half_first() -> None:
    head = QRLConfig(head="mrn", latent_dim=4).make_head()
    start, zero = torch.tensor([3.0, 4.0, 2.0, -7.0]), torch.zeros(4)
    assert head(start, zero).item() == pytest.approx(5.0 + 2.0)
    assert head(zero, start).item() == pytest.approx(5.0 + 7.0)


def test_a_block_holds_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of all pairs times D."""
    seen: list[int] = []
    block = iqe_matrix._block
    monkeypatch.setattr(iqe_matrix, "BLOCK", 4 * 2 * 8 * LATENT)

    def watched(x: Tensor, y: Tensor, mix: Tensor, component_dim: int) -> Tensor:
        seen.append(x.shape[1] * y.numel())
        return block(x, y, mix, component_dim)

    monkeypatch.setattr(iqe_matrix, "_block", watched)
    head = IQE(4)
    d = head.matrix(torch.randn(2, 9, LATENT), torch.randn(2, 8, LATENT))
    assert d.shape == (2, 9, 8) and len(seen) == 3 and max(seen) <= iqe_matrix.BLOCK


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"head": "iqe", "component_dim": 5}, "multiple of component_dim"),
        ({"head": "mrn_paper", "components": 3}, "multiple of components"),
        ({"head": "mrn", "components": 16}, "multiple of 32"),
    ],
)
def test_a_latent_that_does_not_divide_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeadConfig(**{**SIZES, **keys})


def test_the_official_head_is_the_default() -> None:
    generator = torch.Generator().manual_seed(0)
    representations = [torch.randn(2, 5, LATENT, generator=generator) for _ in range(4)]
    known = {"components": 2, "discount": 0.99, "linex_clip": 5.0, "diagonal_weight": 0.5}
    steps = torch.ones(5)
    assert torch.equal(
        critic_loss(*representations, steps, **known)[0], critic_loss(*representations, steps, head=MRN(2), **known)[0]
    )
