"""What an update on a GPU must not do, as far as it can be told without one: wait for a number of the GPU's, or run on
after a loss that was not finite. And what a recorded update does with its batches.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.run import cuda_graph
from mqe_core.learning.run.checkpoint import MetricMeans
from mqe_core.learning.run.cuda_graph import WARM_UP, GraphedUpdate
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.trainer import Trainer

Config = Callable[..., RunConfig]

# Operations whose result, or its shape, the processor must know before it goes on.
WAITING = ("_local_scalar_dense", "nonzero", "bincount", "_unique2", "unique_dim", "masked_select", "equal")


class Waits(TorchDispatchMode):
    """Collects the operations for which a GPU would be waited."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for arg in args
            if isinstance(arg, (list, tuple))
            for index in arg
        )
        if name in WAITING or by_mask:
            self.found.add(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture()
def as_on_gpu(synthetic_store: Path, tiny_config: Config) -> Callable[..., Trainer]:
    """A trainer on the CPU that treats its losses as on a GPU."""

    def make(**keys: Any) -> Trainer:
        trainer = Trainer(EpisodeStore.open(synthetic_store), tiny_config(**keys), progress=False)
        trainer.device = torch.device("cuda")
        return trainer

    return make


def test_what_waits_is_found() -> None:
    with Waits() as waits:
        values = torch.arange(4.0)
        values[values > 1.0].sum().item()
    assert waits.found == {"index", "_local_scalar_dense"}


def test_an_update_waits_for_nothing(as_on_gpu: Callable[..., Trainer], agent: str) -> None:
    trainer = as_on_gpu(agent=agent, observation="state", average_decay=0.9)
    trainer.update()
    with Waits() as waits:
        trainer.update()
    assert waits.found == set()


def test_a_loss_that_is_not_finite_is_found_before_anything_is_saved(as_on_gpu: Callable[..., Trainer]) -> None:
    trainer = as_on_gpu(observation="state")
    trainer.update()
    trainer.check()
    loss = trainer.agent.loss
    for _ in range(2):
        trainer.update()
    with patch.object(trainer.agent, "loss", lambda batch: (loss(batch)[0] * math.nan, loss(batch)[1])):
        trainer.update()
    trainer.update()
    for save in (trainer.check, trainer.state, trainer.policy_weights):
        kept = list(trainer._unchecked)
        with pytest.raises(RuntimeError, match="the loss is nan at step 3"):
            save()
        trainer._unchecked = kept


def test_means_are_those_of_the_numbers_whatever_was_saved() -> None:
    means = MetricMeans()
    for number in (1.0, 2.0):
        means.add({"a": torch.tensor(number), "b": torch.tensor([3.0])})
    sums, count = means.state()
    assert (sums, count) == ({"a": 3.0, "b": 6.0}, 2)
    resumed = MetricMeans()
    resumed.restore(sums, count, torch.device("cpu"))
    resumed.add({"b": torch.tensor(3.0), "new": torch.tensor(6.0)})  # as an old run that a later version continues
    assert resumed.take() == {"b": 3.0, "new": 2.0}
    resumed.add({"b": torch.tensor(1.0), "new": torch.tensor(1.0)})
    assert resumed.take() == {"b": 1.0, "new": 1.0}


class FakeGraph:
    """Stands for torch.cuda.CUDAGraph: runs again what was recorded."""

    replays = 0
    recorded: Callable[[], None]

    def replay(self) -> None:
        FakeGraph.replays += 1
        self.recorded()


@pytest.fixture()
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def nothing(_: Any) -> Iterator[None]:
        yield

    class Stream:
        def wait_stream(self, other: Any) -> None:
            pass

    FakeGraph.replays = 0
    for name, fake in {"Stream": Stream, "current_stream": Stream, "stream": nothing, "graph": nothing}.items():
        monkeypatch.setattr(cuda_graph.torch.cuda, name, fake)
    monkeypatch.setattr(cuda_graph.torch.cuda, "CUDAGraph", FakeGraph)


def batch_of(number: float) -> Batch:
    frames = {name: torch.full((2, 3), number) for name in ("observation", "goal")}
    return Batch(frames, {name: torch.full((2,), number) for name in frames}, torch.full((2, 1), number))


def test_a_recorded_update_sees_every_batch_once(fake_cuda: None) -> None:
    seen: list[float] = []
    memory = torch.zeros(())

    def update(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Writes to one place, as a recording does; while it is recorded nothing is computed."""

        def compute() -> None:
            parts = [batch.frames["goal"], batch.steps["observation"], batch.actions]
            memory.copy_(torch.cat([part.flatten() for part in parts]).mean())
            seen.append(memory.item())

        if updates._calls > WARM_UP:
            FakeGraph.recorded = staticmethod(compute)
        else:
            compute()
        return memory, {}

    updates = GraphedUpdate(update)
    answers = [updates(batch_of(float(number)))[0].item() for number in range(WARM_UP + 4)]
    assert answers == seen == [float(number) for number in range(WARM_UP + 4)]
    assert FakeGraph.replays == 4


def test_what_cannot_be_recorded_runs_as_ever(fake_cuda: None, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def update(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        calls.append(batch)
        if len(calls) == WARM_UP + 1:
            raise RuntimeError("operation not permitted when stream is capturing")
        return batch.actions.mean(), {}

    updates = GraphedUpdate(update)
    answers = [updates(batch_of(float(number)))[0].item() for number in range(WARM_UP + 3)]
    assert answers == [float(number) for number in range(WARM_UP + 3)]
    assert "not permitted" in caplog.text and FakeGraph.replays == 0
