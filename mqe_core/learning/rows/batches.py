"""The batches of a run in their order, some of them begun while the update before is still at work."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mqe_core.data.store.decoding_pool import WorkerEndedError
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.training_data import TrainingData


class BatchError(RuntimeError):
    """A batch cannot be made: an image is damaged, or a process that decodes was ended. The trainer is as before."""


class Batches:
    """What a run is trained on, from one seed: batch number k is the same however many are begun ahead of it.

    Everything random about a batch is drawn when it is begun, in order. ``random_state`` is what was drawn for the
    batches that were taken, so a run that goes on from there begins the others again.
    """

    def __init__(
        self, data: TrainingData, rng: np.random.Generator, names: tuple[str, ...], ranks: Ranks = ALONE
    ) -> None:
        self._data, self._rng, self._names, self._ranks = data, rng, names, ranks
        self._begun: collections.deque[tuple[Callable[[], Batch], Mapping[str, Any]]] = collections.deque()
        self._state: Mapping[str, Any] = rng.bit_generator.state

    @property
    def random_state(self) -> Mapping[str, Any]:
        """That of the generator after the batches that were taken."""
        return self._state

    def restore(self, random_state: Mapping[str, Any]) -> None:
        """Go on from ``random_state``, before the first batch."""
        assert not self._begun, "batches are under way"
        self._state = random_state
        self._rng.bit_generator.state = dict(random_state)

    def take(self) -> Batch:
        """The next one; BatchError where it cannot be made, on any rank."""
        self._begin(1)
        finish, state = self._begun[0]
        failed: Exception | None = None
        try:
            batch = finish()
        except (ValueError, OSError, WorkerEndedError) as error:
            failed = error
        if said := self._ranks.told(str(failed or "")):
            raise BatchError(said) from failed
        self._begun.popleft()
        self._state = state
        self._begin(self._data.observations.ahead)
        return batch

    def _begin(self, number: int) -> None:
        """Let so many be under way."""
        while len(self._begun) < number:
            self._begun.append((self._data.begin(self._rng, self._names), self._rng.bit_generator.state))
