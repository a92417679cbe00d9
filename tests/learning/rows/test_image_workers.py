"""A run is the same bit for bit whoever decodes its images; what fails there ends it with its work kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mqe_core.data.episode import Episode
from mqe_core.data.store.decoding_pool import DecodingPool
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.rows.batches import BatchError
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.train import resume, train
from mqe_core.learning.run.trainer import Trainer
from tests.learning.run.test_training import same_weights

Config = Callable[..., RunConfig]
DECODING = {"image_memory_mb": 0.0, "validation_fraction": 0.2, "augment_kind": "bridge"}


def test_batches_are_equal_for_any_number_of_workers_and_whatever_is_in_memory(
    synthetic_store: Path, tiny_config: Config
) -> None:
    drawn = []
    for workers, cache_mb in ((0, 0.0), (1, 0.0), (2, 0.0), (0, 0.01), (2, 0.01), (2, 1000.0)):
        config = tiny_config(**DECODING, image_workers=workers, image_cache_mb=cache_mb)
        trainer = Trainer(EpisodeStore.open(synthetic_store), config, progress=False)
        drawn.append([trainer._batches.take().tensors() for _ in range(3)])
        trainer.close()
    assert not np.array_equal(drawn[0][0][0], drawn[0][1][0])
    for others in drawn[1:]:
        for first, other in zip(drawn[0], others):
            assert all(np.array_equal(a, b) for a, b in zip(first, other))


def test_runs_are_equal_also_across_a_resume_with_another_number(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config
) -> None:
    train(synthetic_store, tmp_path / "whole", tiny_config(**DECODING, steps=6), progress=False)
    train(synthetic_store, tmp_path / "parts", tiny_config(**DECODING, steps=3, image_workers=2), progress=False)
    resume(synthetic_store, tmp_path / "parts", tiny_config(**DECODING, steps=6, image_workers=1), progress=False)
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoints" / "latest.pt") for name in ("whole", "parts"))
    assert whole["numpy_rng"] == parts["numpy_rng"]
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "parts" / "metrics.csv").read_bytes()


def test_a_killed_worker_ends_the_run_which_goes_on_from_there(
    synthetic_store: Path, tmp_path: Path, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(**DECODING, steps=6, image_workers=2, checkpoint_every=100)
    update, begun = Trainer.update, []

    def update_and_kill(self: Trainer) -> None:
        update(self)
        if self.step == 3:
            pool: DecodingPool = self.data.observations._pool
            begun.extend(process.pid for process in pool._processes)
            os.kill(begun[0], signal.SIGKILL)
            os.waitid(os.P_PID, begun[0], os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(Trainer, "update", update_and_kill)
    with pytest.raises(BatchError, match=r"image worker 0 \(process \d+\) was .*SIGKILL.*continue with mqe train"):
        train(synthetic_store, tmp_path / "run", config, progress=False)
    assert not any(Path(f"/proc/{pid}").exists() for pid in begun)
    assert 3 == load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"]
    monkeypatch.setattr(Trainer, "update", update)
    resume(synthetic_store, tmp_path / "run", config, progress=False)
    train(synthetic_store, tmp_path / "whole", tiny_config(**DECODING, steps=6), progress=False)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_ends_the_run_and_is_named(tmp_path: Path, tiny_config: Config, workers: int) -> None:
    rng = np.random.default_rng(0)
    with EpisodeWriter(tmp_path / "store", image_size=16) as writer:
        for i in range(8):
            states, images = rng.normal(0, 0.1, (12, 7)), rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
            writer.add(Episode(f"episode{i}", states, rng.normal(0, 0.01, (11, 7)), {0: list(images)}))
    file = tmp_path / "store" / "camera_0.bin"
    damaged = bytearray(file.read_bytes())
    damaged[-600:-500] = bytes(100)  # one frame of 96
    file.write_bytes(damaged)
    config = tiny_config(image_memory_mb=0.0, image_workers=workers, steps=500, checkpoint_every=1000)
    with pytest.raises(BatchError, match=r"camera_0.bin: frame 95: .*the run is kept as of step \d+"):
        train(tmp_path / "store", tmp_path / "run", config, progress=False)
    step = load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"]
    with pytest.raises(BatchError, match=f"kept as of step {step}:"):  # the batch is the same again
        resume(tmp_path / "store", tmp_path / "run", config, progress=False)


def test_ctrl_c_leaves_a_checkpoint_and_no_process(synthetic_store: Path, tmp_path: Path) -> None:
    """At a terminal a Ctrl-C reaches a whole group of processes, and so it does here."""
    keys = {"image_memory_mb": 0, "image_workers": 2, "steps": 100000, "batch_size": 8, "threads": 1}
    settings = [text for name, value in keys.items() for text in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "mqe_core.cli", "train", "--agent", "gcbc", "--data", str(synthetic_store)]
    command += ["--out", str(tmp_path / "run"), *settings, "--set", "log_every=1", "--set", "hidden_dims=[16]"]
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, start_new_session=True)
    metrics = tmp_path / "run" / "metrics.csv"
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130, (tmp_path / "said").read_text()
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "latest.pt")["step"] >= 1
    assert not [line for line in _commands() if str(synthetic_store) in line and "decoding_worker" in line]


def _commands() -> list[str]:
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return lines
