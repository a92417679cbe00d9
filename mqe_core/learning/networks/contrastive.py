"""Contrastive losses over all pairs of a batch: row i's own goal is the positive, the other rows' are the negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def binary_nce(logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross entropy of ``(E, B, B)`` against the diagonal, the mean over all, and detached scalar metrics."""
    own = torch.eye(logits.shape[1], device=logits.device).expand_as(logits)
    loss = F.binary_cross_entropy_with_logits(logits, own)
    return loss, {"contrastive_loss": loss.detach(), **_accuracy(logits.detach())}


def infonce_over_rows(logits: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of ``(E, B, B)``: which row does each column's goal belong to? The mean, and scalar metrics."""
    members, rows, columns = logits.shape
    own = torch.arange(columns, device=logits.device).expand(members, columns)
    loss = F.cross_entropy(logits.transpose(1, 2).flatten(0, 1), own.flatten())
    return loss, {"contrastive_loss": loss.detach(), **_accuracy(logits.detach())}


def _accuracy(logits: Tensor) -> dict[str, Tensor]:
    """How often a row's own goal has the largest logit of the row, and the mean logits of own and of all goals."""
    own = torch.arange(logits.shape[1], device=logits.device)
    return {
        "own_goal_accuracy": (logits.argmax(2) == own).float().mean(),
        "logit_own_goal": logits.diagonal(dim1=1, dim2=2).mean(),
        "logit_mean": logits.mean(),
    }
