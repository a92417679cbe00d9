"""Which work the ranks share out, and how its results come together: the image encoders', row by row.

An encoder's features of one picture depend on no other picture. So each rank encodes the pictures of its own rows, and
the features of all are gathered. Everything after them, such as distances of all pairs and means over the batch, is
computed by every rank as by a single process, and no loss has to know how many ranks there are.

Gradients are exact. With N ranks each descends loss / N, and the gradient of gathered features is the sum over the
ranks of what each has for them. Then the sum over the ranks of a parameter's gradients is that of the single process,
for an encoder's, of which each rank knows its share, and for all others alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.ranks.ranks import Ranks
from mqe_core.learning.rows.batch import Batch


@contextmanager
def shared_out(agent: nn.Module, batch: Batch, ranks: Ranks) -> Iterator[None]:
    """Let the ranks share the work of the agent's image encoders, while its loss of ``batch`` is computed."""
    if ranks.world == 1:
        yield
        return
    handles = []
    for module in agent.modules():
        if isinstance(module, ImageEncoder):
            shared = _Shared(batch, ranks)
            handles += [module.register_forward_pre_hook(shared.before), module.register_forward_hook(shared.after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def descend(loss: Tensor, agent: nn.Module, ranks: Ranks) -> None:
    """The gradient of ``loss``, which each rank has computed, in all parameters."""
    (loss / ranks.world if ranks.world > 1 else loss).backward()
    ranks.sum_gradients(agent.parameters())


class _Shared:
    """One encoder: it is given this rank's pictures of those it was asked for, and answers for all."""

    def __init__(self, batch: Batch, ranks: Ranks) -> None:
        self._rows, self._own, self._ranks = len(batch.actions), batch.own, ranks
        self._asked = 0

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, ``(n, ...)`` each, of this rank."""
        self._asked = len(inputs[0])
        own: Callable[[Tensor], Tensor] = self._of_own_rows if self._own is not None else self._of_a_piece
        return tuple(pytree.tree_map_only(Tensor, own, given) for given in inputs)

    def after(self, module: nn.Module, inputs: tuple[Any, ...], features: Tensor) -> Tensor:
        """``(m, F)`` of this rank -> ``(n, F)`` of all that was asked for."""
        everywhere = _Gathered.apply(features, self._ranks)  # (N, m, F)
        if self._own is None:
            return everywhere.flatten(0, 1)[: self._asked]
        batches = self._asked // self._rows
        return everywhere.unflatten(1, (batches, -1)).transpose(0, 1).flatten(0, 2)

    def _of_own_rows(self, given: Tensor) -> Tensor:
        """Of whole batches, one after the other, the rows that this rank has loaded."""
        if len(given) % self._rows:
            raise RuntimeError(
                f"an image encoder was given {len(given)} pictures of a batch of {self._rows}: on several ranks it "
                "takes whole batches, one after the other, as each rank has loaded the pictures of its own rows only"
            )
        return given.unflatten(0, (-1, self._rows))[:, self._own].flatten(0, 1)

    def _of_a_piece(self, given: Tensor) -> Tensor:
        """Of any number one piece of N; the last pictures again where they do not fill it."""
        size = -(-len(given) // self._ranks.world)
        first = self._ranks.rank * size
        numbers = torch.arange(first, first + size, device=given.device)
        return given[numbers.clamp(max=len(given) - 1)]


class _Gathered(torch.autograd.Function):
    """``(...) -> (N, ...)``, of all ranks; backward the sum of what they have for this one's."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.gathered(own)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.summed(grad)[ctx.ranks.rank], None
