"""The comparison on OGBench: its plan, what stops and goes on, and the page that is made from its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import ogbench_runs, ogbench_table
from benchmarks.ogbench_plan import ABLATIONS, FURTHER, MAZES, VARIANTS, Run, plan
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.run.run_config import keys_for, make_config
from mqe_core.learning.run.tuned import require_dataset
from mqe_core.ogbench.evaluation import TaskOutcome
from mqe_core.ogbench.instruments import Figures


def test_the_plan_has_every_agent_three_times_on_both_mazes() -> None:
    runs = plan()
    assert len({run.folder for run in runs}) == len(runs)
    for maze in MAZES:
        for agent in AGENTS:
            assert {run.seed for run in runs if run.dataset == maze and run.variant == agent} == {0, 1, 2}
    assert {run.variant for run in runs} == set(VARIANTS) | set(ABLATIONS)
    assert {run.dataset for run in runs} == {*MAZES, *FURTHER}
    for run in runs:
        require_dataset(run.dataset)
        make_config(keys_for(run.agent, {"agent": run.agent, **run.keys}))  # every key is one


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What `mqe` was told, in place of training; evaluation answers by the checkpoint."""
    commands: list[tuple[str, ...]] = []

    def command(*words: str) -> None:
        commands.append(words)
        if words[0] == "train":
            folder = Path(words[words.index("--out") + 1])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.yaml").touch()

    monkeypatch.setattr(ogbench_runs, "command", command)
    monkeypatch.setattr("mqe_core.ogbench.run_evaluation.load", lambda folder, checkpoint: checkpoint)
    outcome = TaskOutcome(1, np.array([True, False]), np.array([5, 9]))
    monkeypatch.setattr("mqe_core.ogbench.run_evaluation.evaluate_run", lambda *a, **k: [outcome])
    monkeypatch.setattr("mqe_core.ogbench.run_figures.figures_of_run", lambda run: Figures(0.5, None, 0.25))
    return commands


def run_it(tmp_path: Path, *more: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    places = [
        "--data",
        str(tmp_path / "data"),
        "--work",
        str(tmp_path / "work"),
        "--results",
        str(tmp_path / "rows.csv"),
    ]
    monkeypatch.setattr("sys.argv", ["ogbench_runs", *places, *more])
    assert ogbench_runs.main() == 0
    return ogbench_runs.rows(tmp_path / "rows.csv")


def test_it_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked) -> None:
    only = ("--only", "pointmaze-medium-stitch-v0/gcbc-0")
    found = run_it(tmp_path, "--steps", "5000", *only, monkeypatch=monkeypatch)
    assert [words[0] for words in asked] == ["ogbench", "train"] and "--resume" not in asked[1]
    assert [(row["step"], row["success"], row["critic_cosine"]) for row in found] == [("5000", "0.5000", "")]
    assert found == run_it(tmp_path, "--steps", "5000", *only, monkeypatch=monkeypatch)  # nothing is done again
    assert len(asked) == 2
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pointmaze-medium-stitch-v0.npz").touch()
    found = run_it(tmp_path, "--steps", "15000", *only, monkeypatch=monkeypatch)
    assert asked[2][:2] == ("train", "--resume") and asked[2][-1] == "15000" and len(asked) == 3
    assert [row["step"] for row in found] == ["5000", "10000", "15000"]


def test_a_failed_training_ends_it_with_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        ogbench_runs.train(Run("no-such-set-v0", "mqe", 0), tmp_path, tmp_path / "run", 10, 5, ())
    assert not (tmp_path / "run").exists()


def row(variant: str, seed: int, step: int, success: float, **more: str) -> dict[str, str]:
    found = dict.fromkeys(ogbench_runs.COLUMNS, "")
    found |= {"dataset": "pointmaze-giant-stitch-v0", "variant": variant, "seed": str(seed), "budget": "cpu"}
    return found | {"step": str(step), "success": str(success), "commit": "abc", "machine": "m", **more}


def test_the_table_is_of_the_first_and_last_checkpoint_that_all_seeds_have_and_of_the_furthest() -> None:
    found = [
        row("mqe", 0, 5000, 0.1, rank_correlation="0.9"),
        row("mqe", 0, 10000, 0.9),
        row("mqe", 1, 5000, 0.3, rank_correlation="0.7"),
        row("gcbc", 0, 10000, 0.25),
        *(row("crl", 0, step, step / 20000) for step in (5000, 10000, 15000)),
    ]
    lines = ogbench_table.tables(found).splitlines()
    assert "| mqe | 2 | 5,000 | 20.0 ± 10.0 | 0.80 ± 0.10 | – | – | 59.2 ± 3.2 | – |" in lines
    assert "| mqe | 1 | 10,000 | 90.0 | – | – | – | 59.2 ± 3.2 | – |" in lines
    assert "| gcbc | 1 | 10,000 | 25.0 | – | – | – | – | 0 |" in lines
    assert sum(line.startswith("| gcbc |") for line in lines) == 1
    assert [line.split(" | ")[2:4] for line in lines if line.startswith("| crl |")] == [
        ["5,000", "25.0"],
        ["15,000", "75.0"],
    ]


def test_the_page_is_what_the_rows_say() -> None:
    text = ogbench_table.PAGE.read_text(encoding="utf-8")
    made = text.split(ogbench_table.BEGIN)[1].split(ogbench_table.END)[0]
    assert made == f"\n{ogbench_table.tables(ogbench_runs.rows(ogbench_runs.RESULTS))}\n"
