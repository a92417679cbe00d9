"""Networks that say how a table changes, for benchmarks/closed_loop_states.py, and how they learn it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.true_states import TrueStates
from mqe_core.robot.arrays import Floats, Ints

WIDTHS = (256, 256, 256)
_BATCH, _RATE = 256, 1e-3


class StateNetwork(nn.Module):
    """Sees states of S numbers as D, standardised. Of the S the first `moving` change; that is told in deviations."""

    mean: Tensor
    std: Tensor
    change: Tensor

    def __init__(self, data: TrueStates) -> None:
        super().__init__()
        self.width, self.moving, self.inputs = data.width, data.moving, data.states.shape[1]
        for name, size in (("mean", self.inputs), ("std", self.inputs), ("change", self.moving)):
            self.register_buffer(name, torch.ones(size))

    def standard(self, states: Tensor) -> Tensor:
        """(B, D) as they are seen."""
        return (states - self.mean) / self.std

    def moved(self, states: Floats, change: Tensor) -> Floats:
        """(B, S), (B, moving) in deviations -> (B, S)."""
        after = states.copy()
        after[:, : self.moving] += (change * self.change).numpy()
        return after


Net = TypeVar("Net", bound=StateNetwork)
# Of a batch: the network, states as they are seen (B, D), their changes (B, moving) in deviations, and their frames.
Loss = Callable[[Net, Tensor, Tensor, Ints], Tensor]


def learned(
    make: Callable[[TrueStates], Net],
    data: TrueStates,
    steps: int,
    loss_of: Loss[Net],
    updates: int,
    seed: int,
    file: Path,
    average: float = 0.0,
) -> Net:
    """A network of the data's changes over so many steps, or to the end of the episode, kept in `file`; read from there
    where it is. `average`: decay of a running mean of its weights, 0: none.
    """
    net = make(data)
    if file.exists():
        net.load_state_dict(torch.load(file))
        return net.eval()
    torch.manual_seed(seed)
    net = make(data)
    rng, begins = np.random.default_rng(seed), np.flatnonzero(data.valid)
    ends = data.episode_ends[np.searchsorted(data.episode_ends, begins, side="right")]
    later = np.minimum(begins + steps, ends - 1)
    change = data.states[later, : net.moving] - data.states[begins, : net.moving]
    net.mean.copy_(torch.from_numpy(data.states.mean(0)))
    net.std.copy_(torch.from_numpy(np.maximum(data.states.std(0), 1e-3)))
    net.change.copy_(torch.from_numpy(np.maximum(change.std(0), 1e-5)))  # a drawer's bar moves along y alone
    optimiser = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    mean_of = torch.optim.swa_utils.get_ema_multi_avg_fn(average)
    mean = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=mean_of) if average else None
    for _ in range(updates):
        rows = rng.integers(len(begins), size=_BATCH)
        frames = begins[rows]
        loss = loss_of(net, torch.from_numpy(data.states[frames]), torch.from_numpy(change[rows]) / net.change, frames)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if mean is not None:
            mean.update_parameters(net)
    if mean is not None:
        net.load_state_dict(mean.module.state_dict())
    if not all(torch.isfinite(value).all() for value in net.state_dict().values()):
        raise RuntimeError(f"{file}: not finite after training; look for columns of the states that never change")
    torch.save(net.state_dict(), file)
    return net.eval()
