"""Measure a policy through the whole ROS graph in real time: delays, drops and pacing included.

    python -m mqe_bringup.evaluate --policy policy.onnx --task place1 --episodes 100 --out runs/ros

Scenes are those of `mqe eval` with the same --seed; `mqe compare` pairs the two result.json. As there, every scene
goes on to the task's last step, reached or not, unless the policy refuses its goal as unreachable. Every scene gets a
graph of its own, so that nothing is left over from the one before. An interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mqe_bringup.scene_run import DOMAIN_VARIABLE, run_scene
from mqe_core.closed_loop.results import RESULT_FILE, summarise
from mqe_core.files.disk import write_atomically
from mqe_core.files.kinds import ROS_EVALUATION
from mqe_core.files.outputs import check_folder
from mqe_core.files.progress import Progress
from mqe_core.files.text import read_json
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.ros_domain import domain_of
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=100, help="how many scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first held-out scene (default: %(default)s)")
    parser.add_argument("--policy", required=True, help="policy file")
    parser.add_argument(
        "--workers", type=int, default=1, help="graphs at once; each needs most of a core (default: %(default)s)"
    )
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

    logs = args.out / f"logs_{args.task}_{args.scene}"
    logs.mkdir(exist_ok=True)
    goal = logs / "goal.png"
    write_goal("widowx250s", args.task, args.scene, goal)
    arguments = {"policy": args.policy, "task": args.task, "seed": str(args.scene), "reached_steps": "0"}
    _, outcome = run_scene(arguments, str(goal), logs, lambda text: None)
    write_atomically(_scene_file(args, args.scene), json.dumps(outcome).encode())
    shutil.rmtree(logs)  # kept where the scene failed


def run_all(args: argparse.Namespace) -> None:
    """Drive all scenes that have no outcome yet, each in a process of its own, and sum up."""
    fingerprint = _claim(args)
    scenes = [FIRST_EVALUATION_SEED + args.seed + i for i in range(args.episodes)]
    waiting = [scene for scene in scenes if not _scene_file(args, scene).exists()]
    # Graphs at once must not hear each other; other runs on this machine take domains by process number.
    domains: SimpleQueue[int] = SimpleQueue()
    for worker in range(args.workers):
        domains.put(domain_of(os.getpid() + worker))
    with ThreadPoolExecutor(args.workers) as pool:
        for _ in Progress(
            pool.map(lambda scene: _in_a_process(args, scene, domains), waiting), total=len(waiting), unit="scene"
        ):
            pass
    outcomes = [read_json(_scene_file(args, scene)) for scene in scenes]
    result = {
        "task": args.task,
        "seed": args.seed,
        **summarise([outcome["score"] for outcome in outcomes], outcomes[0]["max_score"]),
        "fingerprint": fingerprint,
        "outcomes": [{"scene_seed": scene, **outcome} for scene, outcome in zip(scenes, outcomes)],
    }
    write_atomically(args.out / RESULT_FILE, (json.dumps(result, indent=1) + "\n").encode())
    low, high = result["mean_score_ci95"]
    # A folder that an earlier version began has scenes without an outcome.
    refused = sum(outcome.get("outcome") == "unreachable" for outcome in outcomes)
    sys.stdout.write(
        f"{args.task} through ROS: {sum(outcome['success'] for outcome in outcomes)} of {len(outcomes)} scenes solved, "
        f"mean score {result['mean_score']:.3f} ({low:.3f} to {high:.3f}) of {result['max_score']:g}; "
        f"{f'{refused} goals refused as unreachable; ' if refused else ''}{args.out / 'result.json'}\n"
    )


def _claim(args: argparse.Namespace) -> str:
    """The policy's fingerprint, which the folder is marked with. ValueError where it holds another policy's scenes."""
    check_folder(args.out, ROS_EVALUATION, continues=(ROS_EVALUATION,), remedy="choose another --out")
    fingerprint = PolicyBundle.open(args.policy).fingerprint
    owner = args.out / "policy"
    if owner.exists() and owner.read_text(encoding="utf-8") != fingerprint:
        raise ValueError(f"{args.out} holds scenes of another policy; choose another --out")
    write_atomically(owner, fingerprint.encode())
    return fingerprint


def _in_a_process(args: argparse.Namespace, scene: int, domains: SimpleQueue[int]) -> None:
    command = [sys.executable, "-m", "mqe_bringup.evaluate", "--task", args.task, "--policy", args.policy]
    domain = domains.get()
    try:
        environment = {**os.environ, DOMAIN_VARIABLE: str(domain)}
        done = subprocess.run(
            [*command, "--out", str(args.out), "--scene", str(scene)], capture_output=True, text=True, env=environment
        )
    finally:
        domains.put(domain)
    if done.returncode != 0:
        raise RuntimeError(f"scene {scene}: {done.stderr.strip()[-2000:]}")


def _scene_file(args: argparse.Namespace, scene: int) -> Path:
    return args.out / f"{args.task}_{scene}.json"


if __name__ == "__main__":
    main()
