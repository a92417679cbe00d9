"""Quasimetrics: distances that may differ by direction and always obey the triangle inequality. MRN is MQE's.

MRN: a latent of D numbers is cut into K chunks; in each chunk, with ``z = x - y``, the first half gives the asymmetric
part ``relu(max z)`` and the second half the symmetric part ``||z||``:

    d(x, y) = (1/K) * sum_k (relu(max z_k,first) + ||z_k,second||) / sqrt(D)

The first argument is where you are, the second where you go. Source: the newer official MQE release, which splits
every chunk in halves and divides by sqrt(D) (the paper's eq. 4 does neither). The release adds 1e-8 inside the norm so
that d(x, x) = 3.5e-9; here d(x, x) is exactly 0 and the norm has gradient 0 there.

Distances are float32 or float64, never lower: a control step is about 5e-3 to 2e-2, less than bfloat16 resolves near d
= 2.
"""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mqe_core.learning.pairs import mrn_kernel
from mqe_core.learning.pairs.pairwise import Norm, PositiveMax

logger = logging.getLogger(__name__)


def require_chunks(latent_dim: int, components: int) -> int:
    """Coordinates in each half of a chunk; ValueError when the latent does not divide."""
    if components < 1 or latent_dim % (2 * components) != 0:
        raise ValueError(
            f"a latent of {latent_dim} numbers cannot be cut into {components} chunks of two equal halves: "
            f"choose latent_dim as a multiple of {2 * max(components, 1)}"
        )
    return latent_dim // (2 * components)


def mrn_distance(x: Tensor, y: Tensor, components: int, smoothing: float = 0.0) -> Tensor:
    """Row-wise distance, ``(..., D), (..., D) -> (...)``; the two shapes broadcast against each other.

    ``smoothing`` is added to the square below the root of the second half: TMD and CMD have 1e-6 there.
    """
    latent_dim = x.shape[-1]
    half = require_chunks(latent_dim, components)
    z = (x - y).unflatten(-1, (components, 2, half))  # (..., K, 2, h)
    asymmetric = z[..., 0, :].amax(-1).relu()  # (..., K)
    symmetric = _smooth(torch.linalg.vector_norm(z[..., 1, :], dim=-1), smoothing)  # (..., K); gradient at 0 is 0
    return (asymmetric + symmetric).mean(-1) / math.sqrt(latent_dim)


def _smooth(norm: Tensor, smoothing: float) -> Tensor:
    return (norm.square() + smoothing).sqrt() if smoothing else norm


def mrn_distance_matrix(x: Tensor, y: Tensor, components: int, smoothing: float = 0.0) -> Tensor:
    """All pairs inside each ensemble member, ``(E, B, D), (E, C, D) -> (E, B, C)``.

    Equal to ``mrn_distance(x[:, :, None], y[:, None], components, smoothing)`` without that form's (E, B, C, D) tensor,
    forward and backward. On the CPU it is compiled code, where that can be built (mrn_kernel.py); else it is torch, and
    the largest thing in memory is (E, K, B, C), which is D/K times smaller.
    """
    half = require_chunks(x.shape[-1], components)
    if _takes(x, y, half) and (kernel := _checked_kernel()) is not None:
        return _CompiledDistance.apply(x, y, kernel, half, smoothing)
    return _torch_distance_matrix(x, y, components, smoothing)


def _takes(x: Tensor, y: Tensor, half: int) -> bool:
    """Whether the compiled form does."""
    on_cpu = x.device.type == "cpu" and x.dtype == y.dtype == torch.float32
    return on_cpu and half <= mrn_kernel.LARGEST_HALF and min(x.numel(), y.numel()) > 0


@functools.cache
def _checked_kernel() -> mrn_kernel.MrnKernel | None:
    """The compiled form, where it is there and computes on this processor what torch does."""
    kernel = mrn_kernel.load()
    if kernel is None:
        return None
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
        generator, kind = torch.Generator().manual_seed(0), torch.float32
        x, y = (torch.randn(2, n, 96, generator=generator, dtype=kind).requires_grad_() for n in (7, 21))
        weights = torch.randn(2, 7, 21, generator=generator, dtype=kind)
        distances = _CompiledDistance.apply(x, y, kernel, 16, 0.0), _torch_distance_matrix(x, y, 3, 0.0)
        ours, theirs = ((d.detach(), *torch.autograd.grad((weights * d).sum(), (x, y))) for d in distances)
    if not all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, theirs)):
        logger.warning("the compiled pairwise distance is wrong on this processor: torch computes it, and slower")
        return None
    return kernel


class _CompiledDistance(torch.autograd.Function):
    """:func:`mrn_distance_matrix` by the kernel. What is kept for the backward is one byte per pair and component."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: mrn_kernel.MrnKernel, half: int, smoothing: float) -> Tensor:
        x, y = x.contiguous(), y.contiguous()
        scale = 2 * half / x.shape[-1] / math.sqrt(x.shape[-1])  # 1 / (K sqrt(D))
        differentiable = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        distance, winner = kernel.distance(x, y, half, smoothing, scale, with_winner=differentiable)
        ctx.save_for_backward(x, y, winner)
        ctx.kernel, ctx.settings = kernel, (half, smoothing, scale)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        x, y, winner = ctx.saved_tensors
        return *ctx.kernel.gradient(x, y, grad.contiguous(), winner, *ctx.settings), None, None, None


def _torch_distance_matrix(x: Tensor, y: Tensor, components: int, smoothing: float) -> Tensor:
    """:func:`mrn_distance_matrix` in torch, on any device."""
    members, rows, latent_dim = x.shape
    half = latent_dim // (2 * components)

    def groups(latents: Tensor, part: int) -> Tensor:  # (E, n, D) -> (E * K, n, h)
        chunks = latents.unflatten(-1, (components, 2, half))[..., part, :]
        return chunks.transpose(1, 2).reshape(members * components, -1, half)

    total = PositiveMax.apply(groups(x, 0), groups(y, 0)) + Norm.apply(groups(x, 1), groups(y, 1), smoothing)
    return total.view(members, components, rows, -1).mean(1) / math.sqrt(latent_dim)


def iqe_distance(x: Tensor, y: Tensor, component_dim: int, mix: Tensor) -> Tensor:
    """The interval quasimetric embedding (IQE), ``(..., D), (..., D) -> (...)``; Wang and Isola, 2022.

    A component is ``component_dim`` coordinates; its value is the length of the union of their intervals from x to y,
    those where y is larger. The distance is ``a mean + (1 - a) max`` over the components, with a = sigmoid(``mix``).
    """
    x, y = (z.unflatten(-1, (-1, component_dim)) for z in torch.broadcast_tensors(x, y))  # (..., D / c, c)
    ends, order = torch.cat([x, torch.where(y > x, y, x)], dim=-1).sort(dim=-1)
    begins = torch.where(order < component_dim, 1, -1)  # +1 where an interval begins, -1 where it ends
    covered = begins.cumsum(-1)[..., :-1] > 0
    components = ((ends[..., 1:] - ends[..., :-1]) * covered).sum(-1)
    share = mix.sigmoid()
    return share * components.mean(-1) + (1.0 - share) * components.amax(-1)
