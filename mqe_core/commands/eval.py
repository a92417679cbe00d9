"""Measure how often a policy reaches its goal: in held-out scenes of the simulator, or in OGBench's tasks.

With --policy: scenes are numbered from 1,000,000 + SEED, where no training data is collected. With --run: OGBench's
protocol, the tasks of its environment, success at an episode's last step. The same seed gives the same result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mqe_core.commands.choice_arguments import add_choice_arguments, choice_changes

if TYPE_CHECKING:
    from mqe_core.closed_loop.evaluate import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe eval`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--policy", metavar="FILE", type=Path, help="the .onnx file, in the simulator")
    which.add_argument("--run", metavar="RUN", type=Path, dest="run_folder", help="a run folder, in OGBench")
    parser.add_argument("--env", metavar="NAME", help="with --run: OGBench's data set (default: the one of training)")
    parser.add_argument(
        "--checkpoint", default="latest", help="with --run: latest, or a kept one, such as step_00100000"
    )
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument(
        "--episodes", type=int, default=50, help="how many scenes, or episodes of each task (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="first held-out scene (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="processes; the result does not depend on it (default: %(default)s)",
    )
    parser.add_argument("--backend", default="sim", help="simulator (default: %(default)s)")
    parser.add_argument(
        "--randomise",
        metavar="NAMES",
        default="",
        help="what else differs between scenes, comma-separated; see `mqe sim collect --help`",
    )
    parser.add_argument(
        "--only-stage",
        metavar="N",
        type=int,
        help="play this stage of the task alone, from 1, those before it done already",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="pursue goals also where the policy would refuse them as unreachable"
    )
    parser.add_argument(
        "--choice",
        default="critic",
        help="who chooses among a policy's candidates: critic, or, as a control, random (default: %(default)s)",
    )
    parser.add_argument("--robot", default="widowx250s", help="robot spec, a name (default: %(default)s)")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="also write result.json, episodes.csv, a figure of steps_to_goal and a film",
    )
    parser.add_argument("--force", action="store_true", help="replace the evaluation that --out holds")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    add_choice_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run `mqe eval`."""
    if args.run_folder is not None:
        return _run_in_ogbench(args)
    if args.env is not None:
        raise ValueError("--env is of OGBench, where a run is evaluated: give --run RUN instead of --policy")
    if choice_changes(args):
        raise ValueError(
            "a policy file has its candidates and flow steps: give those to mqe export, or here with --run"
        )
    from mqe_core.closed_loop.evaluate import EvaluationSettings, evaluate
    from mqe_core.closed_loop.evaluation_report import FILMS, write_report
    from mqe_core.files.kinds import EVALUATION
    from mqe_core.files.outputs import check_folder
    from mqe_core.robot.spec import load_robot_spec

    spec = load_robot_spec(args.robot)
    settings = EvaluationSettings(
        task=args.task,
        episodes=args.episodes,
        seed=args.seed,
        backend=args.backend,
        randomise=tuple(name.strip() for name in args.randomise.split(",") if name.strip()),
        stage=None if args.only_stage is None else args.only_stage - 1,
        anyway=args.anyway,
        choice=args.choice,
    )
    if args.out:
        check_folder(args.out, EVALUATION, replaces=(EVALUATION,), force=args.force)
    result = evaluate(args.policy, spec, settings, workers=args.workers, films=FILMS if args.out else 0)
    _tell(result, as_json=args.json)  # before it is written: a full disk must not lose it
    written = write_report(result, args.out, spec.control.control_hz) if args.out else []
    for path in written if not args.json else ():
        print(f"  {path}")
    return 0


def _run_in_ogbench(args: argparse.Namespace) -> int:
    from mqe_core.closed_loop.intervals import wilson_interval
    from mqe_core.ogbench.run_evaluation import evaluate_run, load, summary

    for name in ("out", "randomise", "only_stage", "anyway", "force"):
        if getattr(args, name):
            raise ValueError(f"--{name.replace('_', '-')} is of the simulator: leave it out with --run")
    run = load(args.run_folder, args.env, args.checkpoint, choice_changes(args))
    outcomes = evaluate_run(run, args.episodes, args.seed, args.choice)
    result = summary(run, outcomes, args.episodes, args.seed) | {"choice": args.choice}
    if args.json:
        print(json.dumps(result, indent=1))
        return 0
    for outcome in outcomes:
        print(f"  task {outcome.task}: {outcome.success.sum()} of {args.episodes}, {outcome.steps.mean():.0f} steps")
    low, high = wilson_interval(float(sum(o.success.sum() for o in outcomes)), args.episodes * len(outcomes))
    print(
        f"{run.name.text}, {run.agent} after {run.step} updates: {100 * result['success']:.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    )
    return 0


def _tell(result: Evaluation, *, as_json: bool) -> None:
    summary = result.summary()
    if as_json:
        print(json.dumps(summary, indent=1), flush=True)
        return
    low, high = summary["ci95"]
    score_low, score_high = summary["mean_score_ci95"]
    solved = f"{sum(outcome.success for outcome in result.outcomes)} of {len(result.outcomes)} scenes solved"
    print(
        f"{result.settings.title}: {solved}, {100 * summary['success_rate']:.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %), mean score {summary['mean_score']:.3f} "
        f"({score_low:.3f} to {score_high:.3f}) of {summary['max_score']:g}"
        + (f"; {summary['refused']} goals refused as unreachable" if summary["refused"] else ""),
        flush=True,
    )
