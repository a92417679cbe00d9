"""The MRN quasimetric of MQE: a distance that may differ by direction and always obeys the triangle inequality.

A latent of D numbers is cut into K chunks; in each chunk, with ``z = x - y``, the first half gives the asymmetric part
``relu(max z)`` and the second half the symmetric part ``||z||``:

    d(x, y) = (1/K) * sum_k (relu(max z_k,first) + ||z_k,second||) / sqrt(D)

The first argument is where you are, the second where you go. Source: the newer official MQE release, which splits every chunk in
halves and divides by sqrt(D) (the paper's eq. 4 does neither). The release adds 1e-8 inside the norm so that d(x, x) = 3.5e-9;
here d(x, x) is exactly 0 and the norm has gradient 0 there.

Distances are float32 or float64, never lower: a control step is about 5e-3 to 2e-2, less than bfloat16 resolves near d = 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _half_width(latent_dim: int, components: int) -> int:
    """Coordinates in each half of a chunk; ValueError when the latent does not divide."""
    if components < 1 or latent_dim % (2 * components) != 0:
        raise ValueError(
            f"a latent of {latent_dim} numbers cannot be cut into {components} chunks of two equal halves: "
            f"choose latent_dim as a multiple of {2 * max(components, 1)}"
        )
    return latent_dim // (2 * components)


def mrn_distance(x: Tensor, y: Tensor, components: int) -> Tensor:
    """Row-wise distance, ``(..., D), (..., D) -> (...)``; the two shapes broadcast against each other."""
    latent_dim = x.shape[-1]
    half = _half_width(latent_dim, components)
    z = (x - y).unflatten(-1, (components, 2, half))  # (..., K, 2, h)
    asymmetric = z[..., 0, :].amax(-1).relu()  # (..., K)
    symmetric = torch.linalg.vector_norm(z[..., 1, :], dim=-1)  # (..., K); its gradient at 0 is 0
    return (asymmetric + symmetric).mean(-1) / math.sqrt(latent_dim)


def mrn_distance_matrix(x: Tensor, y: Tensor, components: int) -> Tensor:
    """All pairs inside each ensemble member, ``(E, B, D), (E, C, D) -> (E, B, C)``.

    Equal to ``mrn_distance(x[:, :, None], y[:, None], components)`` without that form's (E, B, C, D) tensor: the largest
    thing in memory is (E, K, B, C), which is D/K times smaller.
    """
    members, rows, latent_dim = x.shape
    columns = y.shape[1]
    half = _half_width(latent_dim, components)
    x_chunks = x.unflatten(-1, (components, 2, half))  # (E, B, K, 2, h)
    y_chunks = y.unflatten(-1, (components, 2, half))
    # Asymmetric halves with the coordinate before the row, so that a slab of one coordinate is contiguous: (E*K, h, B).
    asymmetric = _PositiveMax.apply(
        x_chunks[..., 0, :].permute(0, 2, 3, 1).reshape(members * components, half, rows),
        y_chunks[..., 0, :].permute(0, 2, 3, 1).reshape(members * components, half, columns),
    )
    # Direct differences. The Gram form |x|^2 + |y|^2 - 2xy is off by 2e-3 at latent scale 100, half a control step.
    symmetric = torch.cdist(
        x_chunks[..., 1, :].transpose(1, 2).reshape(members * components, rows, half),
        y_chunks[..., 1, :].transpose(1, 2).reshape(members * components, columns, half),
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    total = (asymmetric + symmetric).view(members, components, rows, columns)
    return total.mean(1) / math.sqrt(latent_dim)


class _PositiveMax(torch.autograd.Function):
    """``max(0, max_i x[:, i, b] - y[:, i, c])`` for all pairs, ``(G, h, B), (G, h, C) -> (G, B, C)``, one coordinate at a time.

    Autograd would keep or rebuild a (G, B, C, h) tensor; here the forward keeps one byte per pair, 1 + the coordinate that won
    (0 where none was positive), and the backward adds each pair's gradient to that coordinate.
    """

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor) -> Tensor:
        groups, half, rows = x.shape
        best = x.new_zeros(groups, rows, y.shape[2])
        difference = torch.empty_like(best)
        if not (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]):
            for i in range(half):
                torch.sub(x[:, i, :, None], y[:, i, None, :], out=difference)
                torch.maximum(best, difference, out=best)
            return best
        assert half < 256, "the winning coordinate is kept in one byte"
        winner = torch.zeros(best.shape, dtype=torch.uint8, device=x.device)
        larger = torch.empty_like(winner)
        for i in range(half):
            torch.sub(x[:, i, :, None], y[:, i, None, :], out=difference)
            torch.gt(difference, best, out=larger.view(torch.bool))
            torch.maximum(best, difference, out=best)
            # i only grows, so the latest winner is the largest: byte-wise maximum is several times faster than a masked write.
            torch.maximum(winner, larger.mul_(i + 1), out=winner)
        ctx.save_for_backward(winner)
        ctx.half = half
        return best

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        (winner,) = ctx.saved_tensors
        groups, rows, columns = grad.shape
        index = winner.long()
        # Slot 0 collects the pairs where no coordinate was positive; it is dropped.
        grad_x = grad.new_zeros(groups, rows, ctx.half + 1).scatter_add_(2, index, grad)
        grad_y = grad.new_zeros(groups, ctx.half + 1, columns).scatter_add_(1, index, grad)
        return grad_x[:, :, 1:].transpose(1, 2), -grad_y[:, 1:]
