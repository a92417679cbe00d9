"""Whether the critic's choice moves the arm better than cloning, with true positions in place of pictures:

    python -m benchmarks.true_states --task place2 --scenes 400 --out DATA
    python -m benchmarks.closed_loop_states DATA --work FOLDER [--methods NAME...] [--seeds 0 1 2] [--scenes 50]
    python -m benchmarks.closed_loop_states DATA --work FOLDER --table

With --stage N that stage alone is left to do, as in every episode of the data. With --wanted N the goal shows N of the
objects moved, drawn by the scene's number, and the others where they lay. FOLDER keeps the weights and `played.jsonl`
(or `played_stageN.jsonl`, `played_wantedN.jsonl`), a line for each scene that was played; what is there is not done
again. Several may work in one folder on different methods or seeds. benchmarks/true_states_methods.py says what the
methods are, benchmarks/true_states_play.py what is written of a scene.

Columns: the mean score of all scenes with its 95 % interval over scenes (the seeds' means of each), the seeds' own,
the difference from --against on the same scenes, how many things were moved that were not asked for, and what the
script would say of the actions (mm). With --wanted the score is 1 where all that was asked for was done and nothing
else moved, else 0.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.true_states import TrueStates
from benchmarks.true_states_ahead import Planner
from benchmarks.true_states_methods import METHODS, Chooser, train
from benchmarks.true_states_play import MEANS, Asked, Chooses, play, sheet
from benchmarks.true_states_subgoals import SubgoalChooser
from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.robot.arrays import Floats
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.tasks import STAGES

CHOOSERS: dict[str, Callable[..., Chooses]] = {"ahead": Planner, "subgoal": SubgoalChooser}
Rows = dict[tuple[str, int], dict[int, dict[str, Any]]]  # by method and seed, by scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what benchmarks.true_states wrote")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="updates of each run (default: its own)")
    parser.add_argument("--copies", type=int, default=8, help="of each scene, moved (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=50, help="held-out scenes (default: %(default)s)")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--stage", type=int, help="the one that is left to do, from 1; else all are")
    asked.add_argument("--wanted", type=int, help="how many of the objects the goal shows moved; else all")
    parser.add_argument("--films", type=int, default=0, help="of so many scenes a page of frames is kept")
    parser.add_argument("--against", default="gcbc", choices=list(METHODS), metavar="NAME")
    parser.add_argument("--table", action="store_true", help="print what was played, and play nothing")
    args = parser.parse_args()
    data = TrueStates(args.data, args.copies)
    for name in ("stage", "wanted"):
        if getattr(args, name) not in (None, *range(1, STAGES[data.task] + 1)):
            parser.error(f"--{name} must lie in 1 to {STAGES[data.task]}, {data.task}'s stages")
    args.work.mkdir(parents=True, exist_ok=True)
    if args.table:
        rows = read(played_file(args))
        if args.wanted is not None:
            count_exact(rows, args.wanted)
        print_table(rows, args.against)
        return
    torch.set_num_threads(1)
    for seed in args.seeds:
        for name in args.methods:
            work(data, name, seed, args)


def work(data: TrueStates, name: str, seed: int, args: argparse.Namespace) -> None:
    """Train what the method needs, and play the scenes that were not played."""
    method, begun = METHODS[name], time.monotonic()
    for run in (method.actor, method.critic):
        if run is not None:
            train(data, run, seed, args.steps, args.work)
    trained_s = time.monotonic() - begun
    there = read(played_file(args)).get((name, seed), {})
    scenes = [s for s in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.scenes) if s not in there]
    parts = data, method, seed, args.work
    chooser: Chooses = CHOOSERS.get(method.choice, Chooser)(*parts)
    for number, scene in enumerate(scenes):
        played = play(chooser, data.task, scene, Asked(args.stage, args.wanted), number < args.films)
        row = {"method": name, "seed": seed, "scene": scene, **played.row()}
        with played_file(args).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if played.film:
            sheet(played.film).save(args.work / f"{name.replace(' ', '_')}-{seed}-{scene}.png")
    now = read(played_file(args))[name, seed]
    if args.wanted is not None:
        count_exact({(name, seed): now}, args.wanted)
    mean = np.mean([row["score"] for row in now.values()])
    took = f"trained {trained_s:.0f} s, played {time.monotonic() - begun - trained_s:.0f} s"
    print(f"{name}, seed {seed}: {mean:.2f} of {len(now)} scenes; {took}", flush=True)


def played_file(args: argparse.Namespace) -> Path:
    """Where the lines stand."""
    asked = {"stage": args.stage, "wanted": args.wanted}
    return Path(args.work, "".join(["played", *(f"_{k}{n}" for k, n in asked.items() if n is not None), ".jsonl"]))


def read(file: Path) -> Rows:
    """What was played."""
    found: Rows = defaultdict(dict)
    for line in file.read_text().splitlines() if file.exists() else []:
        row = json.loads(line)
        found[row["method"], row["seed"]][row["scene"]] = row
    return found


def count_exact(rows: Rows, wanted: int) -> None:
    """Give a scene the score 1 where all that was asked for was done and nothing else was moved, else 0."""
    for played in rows.values():
        for row in played.values():
            row["score"] = float(row["score"] == wanted and row["strayed"] == 0)


def of_scenes(rows: Rows, name: str, column: str, seeds: list[int], scenes: list[int]) -> Floats:
    """(seeds, scenes); NaN where there is no figure."""
    values = [[rows[name, seed][scene].get(column) for scene in scenes] for seed in seeds]
    return np.array(values, dtype=float)


def print_table(rows: Rows, against: str) -> None:
    """Every method that was played, on the scenes and seeds that it shares with `against`."""
    what = f"less {against} | strayed | chosen | best | mean | preferred | right"
    print(f"| method | seeds | scenes | score | of each seed | {what} |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in (name for name in METHODS if any(key[0] == name for key in rows)):
        seeds = sorted(seed for method, seed in rows if method == name)
        scenes = sorted(set.intersection(*(set(rows[name, seed]) for seed in seeds)))
        score = of_scenes(rows, name, "score", seeds, scenes)
        mean, (low, high) = paired_difference([score.mean(axis=0)])
        cells = [name, str(len(seeds)), str(len(scenes)), f"{mean:.2f} ({low:.2f}–{high:.2f})"]
        cells.append(", ".join(f"{value:.2f}" for value in score.mean(axis=1)))
        cells.append(less(rows, name, against))
        for column in ("strayed", *MEANS):
            values = of_scenes(rows, name, column, seeds, scenes)
            known = values[np.isfinite(values)]
            cells.append(f"{known.mean():.{2 if column in ('right', 'strayed') else 1}f}" if len(known) else "–")
        print("| " + " | ".join(cells) + " |")


def less(rows: Rows, name: str, against: str) -> str:
    """The score less that of `against`, paired by seed and scene, with its interval over scenes."""
    seeds = sorted(seed for method, seed in rows if method == name and (against, seed) in rows)
    if name == against or not seeds:
        return "–"
    scenes = sorted(set.intersection(*(set(rows[one, seed]) for seed in seeds for one in (name, against))))
    if not scenes:
        return "–"
    apart = of_scenes(rows, name, "score", seeds, scenes) - of_scenes(rows, against, "score", seeds, scenes)
    mean, (low, high) = paired_difference([apart.mean(axis=0)])
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    main()
