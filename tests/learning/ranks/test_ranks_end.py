"""Promise: two ranks leave one run folder, which one process or two go on with; and the end of one ends both."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.run.checkpoint import load_checkpoint
from mqe_core.learning.run.run_config import RunConfig, make_config
from mqe_core.learning.run.train import resume, train
from tests.learning.ranks import rank_scenarios
from tests.learning.ranks.rank_scenarios import AT, KEYS, STEPS

pytestmark = pytest.mark.timeout(1200)  # a machine may be busy with other tests

SOON_S = 30.0  # on a machine that is busy with other tests; the patience with a silent rank is 3 s here


def config(steps: int) -> RunConfig:
    return make_config({**KEYS, "steps": steps})


@pytest.fixture(scope="module")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the same shape, with other numbers."""
    path, rng = tmp_path_factory.mktemp("other") / "store", np.random.default_rng(1)
    with EpisodeWriter(path, image_size=32) as writer:
        for number in range(2):
            frames = [rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8) for _ in range(12)]
            states, actions = rng.normal(size=(12, 7)), rng.uniform(0, 0.01, size=(11, 7))
            writer.add(Episode(f"episode{number}", states, actions, {0: frames}))
    return path


@pytest.fixture(scope="module")
def folder(synthetic_store: Path, other_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process, and of pairs by the names of their scenarios."""
    folder = tmp_path_factory.mktemp("ranks")
    train(synthetic_store, folder / "alone", config(STEPS), progress=False)
    train(synthetic_store, folder / "resumed", config(AT), progress=False)
    command = [sys.executable, rank_scenarios.__file__, synthetic_store, other_store, folder]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    subprocess.run(list(map(str, command)), check=True, timeout=900, env=environment)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    """What came of each scenario."""
    return json.loads((folder / "found.json").read_text())


def assert_like_alone(folder: Path, run: str) -> None:
    """The run in ``folder / run`` is that of one process: what was drawn exactly, what was computed up to rounding."""
    checkpoints = [load_checkpoint(folder / name / "checkpoints" / "latest.pt") for name in ("alone", run)]
    alone, its = checkpoints
    assert its["step"] == alone["step"] == STEPS and its["numpy_rng"] == alone["numpy_rng"]
    assert torch.equal(its["torch_rng"], alone["torch_rng"])
    for name, weights in alone["agent"].items():
        torch.testing.assert_close(its["agent"][name], weights, rtol=0.0, atol=1e-4)
    for mean, other in zip(alone["average"], its["average"], strict=True):
        torch.testing.assert_close(mean, other, rtol=0.0, atol=1e-4)
    tables = []
    for name in ("alone", run):
        with open(folder / name / "metrics.csv") as file:
            tables.append([{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)])
    assert [row["step"] for row in tables[1]] == [row["step"] for row in tables[0]] == [*range(1, STEPS + 1)]
    for row, other in zip(*tables):
        assert other["loss"] == pytest.approx(row["loss"], rel=1e-3)
        assert other["val/critic/backup_loss"] == pytest.approx(row["val/critic/backup_loss"], rel=1e-3)


def test_two_ranks_leave_the_run_of_one_process(folder: Path, found: dict[str, Any]) -> None:
    """Their images are decoded in processes, by each rank for its rows."""
    assert found["nothing"]["codes"] == [0, 0], found["nothing"]["said"]
    assert_like_alone(folder, "nothing")
    files = [
        sorted(path.relative_to(folder / run).as_posix() for path in (folder / run).rglob("*") if path.is_file())
        for run in ("alone", "nothing")
    ]
    kinds = [[file for file in each if "tfevents" not in file] for each in files]
    assert kinds[0] == kinds[1] and [len(each) for each in files] == [len(kinds[0]) + 1] * 2  # one rank has written
    first, other = found["nothing"]["said"]
    assert "trained 6 steps" in first and not other.strip()


def test_what_one_process_began_two_ranks_finish(folder: Path, found: dict[str, Any]) -> None:
    assert found["resumed"]["codes"] == [0, 0], found["resumed"]["said"]
    assert_like_alone(folder, "resumed")


@pytest.mark.parametrize(
    ("scenario", "code", "words"),
    [
        ("ctrl-c", 130, "interrupted; continue with: mqe train --resume"),
        ("damaged image", 1, f"rank 1: frame 7 cannot be decoded; the run is kept as of step {AT}"),
    ],
)
def test_what_stops_one_rank_stops_both_and_keeps_the_run(
    scenario: str, code: int, words: str, folder: Path, found: dict[str, Any], synthetic_store: Path
) -> None:
    """One process goes on with it, to the same end."""
    result = found[scenario]
    assert result["codes"] == [code, code] and words in result["said"][0], result["said"]
    assert load_checkpoint(folder / scenario / "checkpoints" / "latest.pt")["step"] in (AT, AT + 1)
    assert resume(synthetic_store, folder / scenario, config(STEPS), progress=False)
    assert_like_alone(folder, scenario)


@pytest.mark.parametrize(
    ("scenario", "codes", "who", "words"),
    [
        ("not a number", [1, 1], 0, "the loss is nan at step 3"),
        ("no room", [1, 1], 0, "No space left on device; the run is kept as of its last checkpoint"),
        ("other data", [1, 1], 0, "the data's fingerprint differs"),
        ("killed", [1, -9], 0, "has been silent for 3 s: killed, or cut off"),
        ("silent", [1, -9], 0, "has been silent for 3 s: killed, or cut off"),
        ("the first killed", [-9, 1], 1, "the ranks' store is gone: rank 0"),
    ],
)
def test_the_end_of_one_rank_ends_both_with_its_reason(
    scenario: str, codes: list[int], who: int, words: str, found: dict[str, Any]
) -> None:
    result = found[scenario]
    assert result["codes"] == codes and words in result["said"][who], result["said"]
    assert "Traceback" not in "".join(result["said"])
    assert result["apart"] < SOON_S


@pytest.mark.slow
def test_ctrl_c_at_torchrun_keeps_the_run(synthetic_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    keys = [f"--set={name}={value}" for name, value in {**KEYS, "checkpoint_every": 10**6}.items()]
    command = ["--no-python", sys.executable, "-m", "mqe_core.cli", "train", "--data", str(synthetic_store)]
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command]
        + ["--out", str(out), "--steps", str(10**6), *keys],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240.0
        while not (out / "metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=SOON_S + 30.0)[1]
    finally:
        process.kill()
    assert f"interrupted; continue with: mqe train --resume --out {out}" in said
    assert load_checkpoint(out / "checkpoints" / "latest.pt")["step"] >= 1
