"""Measure a policy through the whole ROS graph in real time: delays, drops and pacing included.

    python -m mqe_bringup.evaluate --task place1 --episodes 100 --out runs/ros

Scenes are those of `mqe eval` with the same --seed; `mqe compare` pairs the two result.json. Every scene gets a graph of its own, so that nothing
is left over from the one before. An interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mqe_bringup.episode import run_scene
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED
from mqe_core.statistics import wilson_interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=100, help="how many scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first held-out scene (default: %(default)s)")
    parser.add_argument("--policy", default="", help="policy file (default: as for mqe up)")
    parser.add_argument("--workers", type=int, default=1, help="graphs at once; each needs most of a core (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder of result.json and of one JSON per scene")
    parser.add_argument("--scene", type=int, help=argparse.SUPPRESS)  # one scene, in a process of its own
    args = parser.parse_args()
    try:
        run_one(args) if args.scene is not None else run_all(args)
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(f"evaluate: {error}")


def run_one(args: argparse.Namespace) -> None:
    """Drive scene `args.scene` and write its outcome."""
    from mqe_sim.goal_file import write_goal

    with tempfile.TemporaryDirectory(prefix="mqe-evaluate-") as folder:
        goal = Path(folder) / "goal.png"
        write_goal("widowx250s", args.task, args.scene, goal)
        arguments = {"policy": args.policy, "task": args.task, "seed": str(args.scene)}
        _, outcome = run_scene(arguments, str(goal), Path(folder) / "logs", lambda text: None)
    _scene_file(args, args.scene).write_text(json.dumps(outcome), encoding="utf-8")


def run_all(args: argparse.Namespace) -> None:
    """Drive all scenes that have no outcome yet, each in a process of its own, and sum up."""
    args.out.mkdir(parents=True, exist_ok=True)
    scenes = [FIRST_EVALUATION_SEED + args.seed + i for i in range(args.episodes)]
    waiting = [scene for scene in scenes if not _scene_file(args, scene).exists()]
    with ThreadPoolExecutor(args.workers) as pool:
        for _ in tqdm(pool.map(lambda scene: _in_a_process(args, scene), waiting), total=len(waiting), unit="scene"):
            pass
    outcomes = [json.loads(_scene_file(args, scene).read_text(encoding="utf-8")) for scene in scenes]
    successes = sum(outcome["success"] for outcome in outcomes)
    low, high = wilson_interval(successes, len(outcomes))
    result = {
        "task": args.task,
        "episodes": len(outcomes),
        "seed": args.seed,
        "success_rate": successes / len(outcomes),
        "ci95": [low, high],
        "mean_score": sum(outcome["score"] for outcome in outcomes) / len(outcomes),
        "max_score": outcomes[0]["max_score"],
        "outcomes": [{"scene_seed": scene, **outcome} for scene, outcome in zip(scenes, outcomes)],
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(
        f"{args.task} through ROS: {successes} of {len(outcomes)} scenes solved ({100 * low:.1f} to {100 * high:.1f} %), "
        f"mean score {result['mean_score']:.3f} of {result['max_score']:g}; {args.out / 'result.json'}\n"
    )


def _in_a_process(args: argparse.Namespace, scene: int) -> None:
    command = [sys.executable, "-m", "mqe_bringup.evaluate", "--task", args.task, "--policy", args.policy]
    done = subprocess.run([*command, "--out", str(args.out), "--scene", str(scene)], capture_output=True, text=True, env=dict(os.environ))
    if done.returncode != 0:
        raise RuntimeError(f"scene {scene}: {done.stderr.strip()[-2000:]}")


def _scene_file(args: argparse.Namespace, scene: int) -> Path:
    return args.out / f"{args.task}_{scene}.json"


if __name__ == "__main__":
    main()
