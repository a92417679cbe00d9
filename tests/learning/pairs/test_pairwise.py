"""Every form of the pairwise distance (compiled, torch as on the CPU, torch as on a GPU) computes the definition's
values and gradients, at every size, and without a tensor of all pairs' coordinates.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mqe_core.learning import quasimetric
from mqe_core.learning.pairs import mrn_kernel, pairwise
from mqe_core.learning.quasimetric import mrn_distance, mrn_distance_matrix

COMPONENTS = 4
Form = Callable[..., Tensor]


def in_torch(x: Tensor, y: Tensor, components: int = COMPONENTS, smoothing: float = 0.0) -> Tensor:
    return quasimetric._torch_distance_matrix(x, y, components, smoothing)


@pytest.fixture(params=["compiled", "torch", "slabs"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Form:
    """Each form; slabs are those of a GPU, here in blocks of two rows."""
    if request.param == "compiled":
        if quasimetric._checked_kernel() is None:
            pytest.skip("no compiler here")
        return mrn_distance_matrix
    if request.param == "slabs":
        monkeypatch.setattr(pairwise, "_max_by_coordinates", pairwise._max_by_slabs)
        monkeypatch.setattr(pairwise, "_gradient_by_scatter", pairwise._gradient_by_slabs)
        monkeypatch.setattr(pairwise, "_rows_on_gpu", lambda x, y: 2)
    monkeypatch.setattr(pairwise, "ROWS_ON_CPU", 3)
    return in_torch


def latents(rows: int, columns: int, dim: int = 64, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and the weights of a sum of distances."""
    generator = torch.Generator().manual_seed(rows + 100 * columns)
    x, y = (scale * torch.randn(2, count, dim, generator=generator) for count in (rows, columns))
    return x, y, torch.randn(2, rows, columns, generator=generator)


def exact(x: Tensor, y: Tensor, weights: Tensor, smoothing: float = 0.0) -> list[Tensor]:
    """Distance and gradients of the broadcast form in float64."""
    x, y = x.double().requires_grad_(), y.double().requires_grad_()
    distance = mrn_distance(x[:, :, None], y[:, None], COMPONENTS, smoothing)
    return [distance.detach(), *torch.autograd.grad((weights.double() * distance).sum(), (x, y))]


def computed(form: Form, x: Tensor, y: Tensor, weights: Tensor, smoothing: float = 0.0) -> list[Tensor]:
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    distance = form(x, y, COMPONENTS, smoothing)
    return [distance.detach(), *torch.autograd.grad((weights * distance).sum(), (x, y))]


def worst(ours: list[Tensor], reference: list[Tensor]) -> float:
    return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, reference))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize("smoothing", [0.0, 1e-6])
@pytest.mark.parametrize("rows, columns", [(1, 1), (5, 3), (4, 16), (7, 33), (66, 50)])
def test_a_form_is_within_1e5_of_float64(form: Form, rows: int, columns: int, smoothing: float, scale: float) -> None:
    x, y, weights = latents(rows, columns, scale=scale)
    assert worst(computed(form, x, y, weights, smoothing), exact(x, y, weights, smoothing)) < 1e-5


def test_a_half_of_more_coordinates_than_a_byte_counts(form: Form) -> None:
    x, y, weights = latents(5, 7, dim=2 * 300 * COMPONENTS)
    assert worst(computed(form, x, y, weights), exact(x, y, weights)) < 1e-5


def test_near_pairs_of_large_latents_keep_their_digits(form: Form) -> None:
    """The gradient of a pair at a distance of about a control step is a direction, whatever the latents' size."""
    x, _, _ = latents(9, 9, scale=1e2)
    y = x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    weights = torch.ones(2, 9, 9)
    assert worst(computed(form, x, y, weights), exact(x, y, weights)) < 1e-5
    only_near = torch.eye(9).expand(2, 9, 9)
    assert worst(computed(form, x, y, only_near), exact(x, y, only_near)) < 1e-5


def test_equal_points_have_distance_and_gradient_zero(form: Form) -> None:
    x, _, _ = latents(5, 5)
    distance, *gradients = computed(form, x, x, torch.eye(5).expand(2, 5, 5))
    assert (distance.diagonal(dim1=1, dim2=2) == 0.0).all()
    assert all((gradient == 0.0).all() for gradient in gradients)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("coordinate", [0, 5, 8, 15])
def test_what_is_not_finite_is_not_hidden(form: Form, coordinate: int, broken: float) -> None:
    """In either half, on either side: the trainer looks at the loss."""
    x, y, _ = latents(6, 6)
    x[0, 1, coordinate] = broken
    y[1, 2, coordinate] = -broken
    distance = form(x, y, COMPONENTS)
    assert not distance[0, 1].isfinite().any() and not distance[1, :, 2].isfinite().any()
    assert distance[0, 2:].isfinite().all() and distance[1, :, 3:].isfinite().all()


def test_forms_take_views_and_a_gradient_of_one_side(form: Form) -> None:
    x, y, weights = latents(6, 20)
    reference = exact(x[:, ::2], y[:, 3:], weights[:, ::2, 3:])
    left = x[:, ::2].clone().requires_grad_()
    distance = form(left, y[:, 3:], COMPONENTS)
    (gradient,) = torch.autograd.grad((weights[:, ::2, 3:] * distance).sum(), left)
    assert worst([distance.detach(), gradient], reference[:2]) < 1e-5
    assert torch.equal(form(x[:, ::2], y[:, 3:], COMPONENTS), distance)  # and without one


def test_compiled_results_do_not_depend_on_the_threads() -> None:
    x, y, weights = latents(37, 41)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(computed(mrn_distance_matrix, x, y, weights))
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation gives."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def test_no_tensor_of_all_pairs_coordinates(form: Form) -> None:
    members, rows, dim = 2, 32, 512
    x, y, weights = latents(rows, rows, dim)
    with Largest() as largest:
        computed(form, x, y, weights)
    assert 0 < largest.numbers < members * rows * rows * dim / 8
    with Largest() as broadcast:
        computed(lambda x, y, k, smoothing: mrn_distance(x[:, :, None], y[:, None], k, smoothing), x, y, weights)
    assert broadcast.numbers == members * rows * rows * dim


@pytest.fixture()
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is built or loaded yet; and nothing of it stays."""
    monkeypatch.setenv("MQE_HOME", str(tmp_path / "home"))
    with (
        patch.object(mrn_kernel, "load", mrn_kernel.load.__wrapped__),
        patch.object(quasimetric, "_checked_kernel", quasimetric._checked_kernel.__wrapped__),
    ):
        yield tmp_path


def test_without_a_compiler_torch_computes_it(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CXX", raising=False)
    x, y, _ = latents(6, 6)
    assert torch.equal(mrn_distance_matrix(x, y, COMPONENTS), in_torch(x, y))
    assert "no compiler" in caplog.text


@pytest.mark.parametrize("script", ["exit 3", "echo refused >&2; exit 1", "true"])
def test_where_the_compiler_fails_torch_computes_it(
    fresh: Path, script: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compiler = fresh / "cxx"
    compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{script}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    x, y, _ = latents(6, 6)
    assert torch.equal(mrn_distance_matrix(x, y, COMPONENTS), in_torch(x, y))
    assert "does not build" in caplog.text and ("refused" in caplog.text) == ("refused" in script)


@pytest.mark.skipif(mrn_kernel.load() is None, reason="no compiler here")
def test_what_was_built_is_found_again_and_a_damaged_file_is_not_used(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert mrn_kernel.load() is not None
    (built,) = (fresh / "home" / "kernels").iterdir()
    with patch.object(mrn_kernel.tempfile, "TemporaryDirectory", side_effect=AssertionError("built again")):
        assert mrn_kernel.load() is not None
    other = fresh / "other" / "kernels"
    other.mkdir(parents=True)
    (other / built.name).write_bytes(b"no library")
    monkeypatch.setenv("MQE_HOME", str(fresh / "other"))
    assert mrn_kernel.load() is None and "does not build" in caplog.text


def test_the_first_use_may_be_an_evaluation(fresh: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In inference mode, or in a program that computes in float64: the kernel is found right all the same."""
    x, y, _ = latents(6, 6)
    reference = in_torch(x, y)
    with torch.inference_mode():
        torch.testing.assert_close(mrn_distance_matrix(x, y, COMPONENTS), reference)
    try:
        torch.set_default_dtype(torch.float64)
        torch.testing.assert_close(mrn_distance_matrix(x, y, COMPONENTS), reference)
    finally:
        torch.set_default_dtype(torch.float32)
    assert "wrong" not in caplog.text


@pytest.mark.skipif(mrn_kernel.load() is None, reason="no compiler here")
def test_a_kernel_that_computes_otherwise_is_not_used(fresh: Path, caplog: pytest.LogCaptureFixture) -> None:
    right = mrn_kernel.MrnKernel.gradient

    def halved(self: mrn_kernel.MrnKernel, *args: object) -> tuple[Tensor, Tensor]:
        grad_x, grad_y = right(self, *args)
        return grad_x, 0.5 * grad_y

    x, y, _ = latents(6, 6)
    with patch.object(mrn_kernel.MrnKernel, "gradient", halved):
        assert torch.equal(mrn_distance_matrix(x, y, COMPONENTS), in_torch(x, y))
    assert "is wrong on this processor" in caplog.text


def test_a_home_that_takes_nothing_still_compiles(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (fresh / "file").write_text("")
    monkeypatch.setenv("MQE_HOME", str(fresh / "file"))
    kernel = mrn_kernel.load()
    if kernel is not None:
        assert "built at every start" in caplog.text
