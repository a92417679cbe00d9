"""The comparison of all agents on OGBench, run by run; stopped at any point, the same command goes on.

    python -m benchmarks.ogbench_runs [--data FOLDER] [--work FOLDER] [--steps N] [--only TEXT] [--list]

A run is trained, and each of its checkpoints evaluated: OGBench's protocol, 50 episodes of each task, and the
instruments of the mazes. Each checkpoint is one row of benchmarks/ogbench_results.csv, written as soon as it is
measured; what stands there is not measured again. Data that is missing is made; nothing downloads. A smaller --steps
is a first look: later with more, the same runs go on from where they stopped. `python -m benchmarks.ogbench_table`
makes the page from the rows.

--budget cpu (default) is that of benchmarks/ogbench_cpu.yaml, for two cores; full is the official one, for a GPU.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.ogbench_plan import Run, plan

ROOT = Path(__file__).parents[1]
HERE = ROOT / "build" / "ogbench"
RESULTS = ROOT / "benchmarks" / "ogbench_results.csv"
COLUMNS = (
    *("dataset", "variant", "seed", "budget", "step", "episodes", "success"),
    *(f"task{number}" for number in range(1, 6)),
    *("rank_correlation", "critic_cosine", "actor_cosine", "commit", "machine"),
)
# Budget -> updates, updates between checkpoints, and what `mqe train` is told beside the data set's own keys.
BUDGETS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "cpu": (50_000, 5_000, ("--config", str(ROOT / "benchmarks" / "ogbench_cpu.yaml"))),
    "full": (1_000_000, 100_000, ("--set", "log_every=1000", "--set", "checkpoint_every=10000")),
}
EPISODES = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "build" / "ogbench" / "data", help="folder of the data sets"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "ogbench" / "runs", help="folder of the run folders"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the rows")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu")
    parser.add_argument("--steps", type=int, help="updates of each run, instead of the budget's")
    parser.add_argument("--only", default="", help="runs whose folder's name holds this text")
    parser.add_argument("--list", action="store_true", help="print the plan with what is done, and stop")
    args = parser.parse_args()
    total, every, told = BUDGETS[args.budget]
    steps = list(range(every, (args.steps or total) + 1, every))
    if not steps:
        raise SystemExit(f"--steps must be at least {every}, the first checkpoint")
    runs = [run for run in plan() if args.only in run.folder]
    for run in runs:
        done = measured(args.results, run, args.budget)
        missing = [step for step in steps if step not in done]
        if args.list:
            print(f"{run.folder}: {len(steps) - len(missing)} of {len(steps)} checkpoints")
            continue
        if missing:
            folder = args.work / args.budget / run.folder
            train(run, args.data, folder, steps[-1], every, told)
            for step in missing:
                append(args.results, row(run, args.budget, folder, step))
    return 0


def measured(results: Path, run: Run, budget: str) -> set[int]:
    """The checkpoints that stand in the rows."""
    return {
        int(found["step"])
        for found in rows(results)
        if (found["dataset"], found["variant"], found["seed"], found["budget"])
        == (run.dataset, run.variant, str(run.seed), budget)
    }


def rows(results: Path) -> list[dict[str, str]]:
    """What was measured so far."""
    if not results.is_file():
        return []
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def train(run: Run, data: Path, folder: Path, steps: int, every: int, told: tuple[str, ...]) -> None:
    """Begin the run, or go on with it, to so many updates. Ends this program where it is interrupted or fails."""
    if not (data / f"{run.dataset}.npz").is_file():
        command("ogbench", "generate", run.dataset, "--out", str(data))
    if (folder / "config.yaml").is_file():  # also where it was stopped before its first checkpoint
        command("train", "--resume", "--out", str(folder), "--steps", str(steps))
        return
    keys = {**run.keys, "snapshot_every": every, "threads": 1}
    sets = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    command(
        *("train", "--env", run.dataset, "--dataset", str(data), "--out", str(folder), "--agent", run.agent),
        *("--seed", str(run.seed), "--steps", str(steps), *told, *sets),
    )


def command(*words: str) -> None:
    """`mqe WORDS` in a process of its own, one thread wide."""
    print("mqe", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "mqe_core.cli", *words], cwd=ROOT, env={**os.environ, **ONE_THREAD})
    if done.returncode:
        raise SystemExit(done.returncode)


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def row(run: Run, budget: str, folder: Path, step: int) -> dict[str, Any]:
    """One checkpoint, evaluated."""
    from mqe_core.ogbench.evaluation import overall
    from mqe_core.ogbench.run_evaluation import evaluate_run, load
    from mqe_core.ogbench.run_figures import figures_of_run

    loaded = load(folder, checkpoint=f"step_{step:08d}")
    outcomes = evaluate_run(loaded, EPISODES, seed=run.seed)
    figures = figures_of_run(loaded)
    return {
        "dataset": run.dataset,
        "variant": run.variant,
        "seed": run.seed,
        "budget": budget,
        "step": step,
        "episodes": EPISODES,
        "success": f"{overall(outcomes):.4f}",
        **{f"task{outcome.task}": f"{outcome.rate:.2f}" for outcome in outcomes},
        **({name: rounded(value) for name, value in dataclasses.asdict(figures).items()} if figures else {}),
        "commit": subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def rounded(value: float | None) -> str:
    """Three digits; nothing where there is nothing."""
    return "" if value is None else f"{value:.3f}"


def append(results: Path, found: dict[str, Any]) -> None:
    """One line more."""
    new = not results.is_file()
    with results.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(found)
    print(f"  {found['dataset']} {found['variant']} step {found['step']}: success {found['success']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
