"""A GPU whose memory does not take an update: which batch would fit, found by trying."""

from __future__ import annotations

import torch

from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.rows.batch import Batch

_LESS = "a smaller encoder, smaller pictures, encoder_bfloat16, or a smaller image_memory_mb"


def card_of(device: torch.device) -> str:
    """A GPU's name, and how much memory it has."""
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"


def too_large(agent: Agent, batch: Batch, card: str, reserve: int = 0) -> str:
    """What to say of a batch that did not fit, where one process trains: how many of its rows do.

    Args:
        card: the GPU's name and memory.
        reserve: bytes that must stay free beside the loss and its gradients, for what the optimiser has yet to make.

    Gradients and random numbers are not what they were after it.
    """
    rows = len(batch.actions)
    fits = rows // 2
    while fits and not _fits(agent, batch.first(fits), reserve):
        fits //= 2
    if not fits:
        return f"not even one row of a batch fits into the memory of {card}: it takes {_LESS}"
    return (
        f"a batch of {rows} rows does not fit into the memory of {card}: {fits} rows did. Keep it with "
        f"pictures_at_once ({fits} or less) or on several GPUs (torchrun), set batch_size to {fits}, or choose {_LESS}"
    )


def too_large_share(rows: int, ranks: int, card: str) -> str:
    """The same where several ranks train: nothing is tried, as each would have to."""
    return (
        f"a batch of {rows} rows on {ranks} ranks does not fit into the memory of {card}: start more ranks, set "
        f"pictures_at_once, a smaller batch_size, or choose {_LESS}"
    )


def _fits(agent: Agent, batch: Batch, reserve: int) -> bool:
    agent.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()  # nothing where there is no GPU
    try:
        held = torch.empty(reserve, dtype=torch.uint8, device=batch.actions.device)
        agent.loss(batch)[0].backward()
    except torch.OutOfMemoryError:
        return False
    del held
    return True
