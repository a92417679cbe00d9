"""An update as a CUDA graph: what hundreds of launches do becomes one, and the GPU waits for no Python.

The first updates run as ever, on a stream of their own, as a recording needs warm libraries. Then one is recorded, into
fixed memory, and from there on a batch is copied into that memory and the recording replayed. Where it cannot be made,
a line of the log says so and updates run as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from mqe_core.learning.networks.actor import Metrics
from mqe_core.learning.rows.batch import Batch

logger = logging.getLogger(__name__)

WARM_UP = 3  # updates

Update = Callable[[Batch], tuple[Tensor, Metrics]]


class GraphedUpdate:
    """``update`` of batches that all have the same shapes; its answers are overwritten by the next call."""

    def __init__(self, update: Update) -> None:
        self._update = update
        self._calls = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._possible = True

    def __call__(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """One update, of this batch."""
        self._calls += 1
        if self._graph is None and self._possible and self._calls > WARM_UP:
            self._record(batch)
        if self._graph is None:
            return self._as_ever(batch)
        for kept, new in zip(self._batch.tensors(), batch.tensors()):
            kept.copy_(new, non_blocking=True)
        self._graph.replay()
        return self._answer

    def _as_ever(self, batch: Batch) -> tuple[Tensor, Metrics]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            answer = self._update(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return answer

    def _record(self, batch: Batch) -> None:
        """Nothing is computed while an update is recorded."""
        graph = torch.cuda.CUDAGraph()
        self._batch = batch
        try:
            with torch.cuda.graph(graph):
                self._answer = self._update(batch)
        except RuntimeError as error:
            self._possible = False
            logger.warning("updates are not recorded as a CUDA graph, and slower: %s", str(error).splitlines()[0])
            return
        self._graph = graph
