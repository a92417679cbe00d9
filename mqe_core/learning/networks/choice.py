"""Best of N: of the actions that a policy proposes, the one from which the critic finds the goal nearest.

Rejection sampling under a critic, as in IDQL (arXiv 2304.10573) and Q-chunking (arXiv 2507.07969). Here the candidates
come from fixed noise, so candidate i changes little from one step to the next, and the index chosen last is kept
until another candidate is nearer by a margin: near ties do not flicker.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Choice(NamedTuple):
    """A policy's answer with what it was chosen from."""

    action: Tensor  # (B, A) in [-1, 1], the candidate that was chosen
    steps_to_goal: Tensor  # (B,) control steps from the observation
    chosen: Tensor  # (B,) int64
    candidates: Tensor  # (B, N, A) in [-1, 1]
    distances: Tensor  # (B, N) control steps from each candidate to the goal, the most pessimistic critic's


def choose(candidates: Tensor, distances: Tensor, last: Tensor | None, margin: float, steps_to_goal: Tensor) -> Choice:
    """The nearest candidate, the first of several; or the one of index ``last (B,)`` where it is at most ``margin``
    control steps farther. None and what is no candidate's index: nothing was chosen before.
    """
    chosen = distances.argmin(-1)
    if last is not None:
        least = distances.amin(-1)
        known = (last >= 0) & (last < distances.shape[-1])
        before = torch.where(known, last, 0)
        kept = distances.gather(-1, before[:, None])[:, 0] <= least + margin
        chosen = torch.where(known & kept, before, chosen)
    index = chosen[:, None, None].expand(-1, 1, candidates.shape[-1])
    return Choice(candidates.gather(1, index)[:, 0], steps_to_goal, chosen, candidates, distances)
