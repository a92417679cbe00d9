"""A checkpoint is written beside training: what it holds, that its error is heard, and that the last is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mqe_core.files.disk import WriteError
from mqe_core.learning.run import checkpoint_writer
from mqe_core.learning.run.checkpoint import load_checkpoint, save_checkpoint
from mqe_core.learning.run.checkpoint_writer import CheckpointWriter, copied
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.train import resume, train

Config = Callable[..., RunConfig]


class Slow:
    """Stands in for the disk: a checkpoint is written once `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.steps = threading.Event(), threading.Event(), []
        monkeypatch.setattr(checkpoint_writer, "save_checkpoint", self.save)

    def save(self, path: Path, state: dict[str, Any]) -> None:
        self.begun.set()
        assert self.go.wait(60)
        save_checkpoint(path, state)
        self.steps.append(state["step"])


def test_what_is_written_is_the_state_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, writer, weights = Slow(monkeypatch), CheckpointWriter(), torch.zeros(3)
    writer.write(tmp_path / "latest.pt", {"step": 1, "agent": {"w": weights}})
    assert slow.begun.wait(60)
    weights += 1  # training goes on
    slow.go.set()
    writer.wait()
    assert load_checkpoint(tmp_path / "latest.pt")["agent"]["w"].tolist() == [0.0, 0.0, 0.0]


def test_the_next_one_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, writer = Slow(monkeypatch), CheckpointWriter()
    writer.write(tmp_path / "latest.pt", {"step": 1})
    timer = threading.Timer(0.1, slow.go.set)
    timer.start()
    writer.write(tmp_path / "latest.pt", {"step": 2})
    assert slow.steps[:1] == [1]
    writer.wait()
    assert slow.steps == [1, 2] and load_checkpoint(tmp_path / "latest.pt")["step"] == 2


def test_one_tensor_in_two_places_stays_one() -> None:
    shared = nn.Linear(4, 4)
    both = nn.ModuleDict({"first": shared, "second": shared})
    state = copied({"agent": both.state_dict(), "average": [shared.weight, torch.zeros(0), torch.zeros(0)]})
    first, second = state["agent"]["first.weight"], state["agent"]["second.weight"]
    assert first is second is state["average"][0]
    assert first.data_ptr() != shared.weight.data_ptr() and torch.equal(first, shared.weight)


@pytest.mark.parametrize("steps", [2, 4])  # of a checkpoint every two: at the last one, and on the way
def test_a_disk_that_takes_nothing_ends_the_run_with_its_reason(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    def full(path: Path, state: dict[str, Any]) -> None:
        raise WriteError(f"{path} cannot be written: full")

    with monkeypatch.context() as broken:
        broken.setattr(checkpoint_writer, "save_checkpoint", full)
        with pytest.raises(WriteError, match="cannot be written: full; the run is kept as of its last checkpoint"):
            train(synthetic_store, tmp_path / "run", tiny_config(steps=steps), progress=False)
    assert resume(synthetic_store, tmp_path / "run", tiny_config(steps=steps), progress=False)


def test_the_loop_goes_on_and_the_last_one_is_there_when_it_returns(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, before = Slow(monkeypatch), set(threading.enumerate())
    finished: list[bool] = []

    def run() -> None:
        config = tiny_config(steps=3, checkpoint_every=2)
        finished.append(train(synthetic_store, tmp_path / "run", config, progress=False))

    loop = threading.Thread(target=run)
    loop.start()
    assert slow.begun.wait(120)
    for _ in range(600):  # the third update is logged while the second one's checkpoint hangs
        rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
        if len(rows) == 4:
            break
        loop.join(0.1)
    assert len(rows) == 4 and not finished and not slow.steps
    slow.go.set()
    loop.join(60)
    assert finished == [True] and load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "checkpoint" and thread not in before]
