"""A day at the robot, in the sim: a policy drives scene after scene, and where it does not get there, an operator does.

    python -m mqe_bringup.takeovers --policy policy.onnx --task place1 --takeovers 10 --out runs/day

The operator is a script that sees where the things lie. His hands are a pad: what he does goes over /joy, teleop_node
and the safety filter, as a person's does. Everything is one graph in real time, and one recording, OUT/bag. Each scene
is an episode of it, from the policy's first command to the operator's last; a scene that the policy solved by itself,
or that nobody did, is discarded. OUT/takeovers.json says what came of each scene.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mqe_bringup.graph import build_graph
from mqe_bringup.scene_run import own_domain, watching
from mqe_bringup.supervisor import Supervisor
from mqe_core.files.disk import write_atomically
from mqe_core.files.kinds import TAKEOVERS
from mqe_core.files.outputs import check_folder
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

_FIRST_SCENE = 500_000  # far from those that people collect from, and before those of evaluations
_SCENES_PER_TAKEOVER = 10  # then the policy is too good to be taken over so often


@dataclass(frozen=True)
class SceneOutcome:
    """Who solved the scene: the policy, the operator or nobody; seconds that each of them drove."""

    scene_seed: int
    solved_by: str
    policy_s: float
    operator_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="policy file")
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument(
        "--takeovers", type=int, default=10, help="how many scenes the operator solves (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=_FIRST_SCENE, help="the first scene (default: %(default)s)")
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds that the policy has for a scene (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    args = parser.parse_args()
    try:
        sys.exit(run(args))
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"takeovers: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("takeovers: interrupted; what was recorded can be imported\n")
        sys.exit(130)


def run(args: argparse.Namespace) -> int:
    """The whole day. ValueError for scenes that evaluations play, or an `--out` that holds something."""
    if args.takeovers < 1 or not 0.0 < args.patience < math.inf:
        raise ValueError(f"takeovers and patience must be above 0, got {args.takeovers} and {args.patience:g}")
    most = _SCENES_PER_TAKEOVER * args.takeovers
    if not 0 <= args.seed <= FIRST_EVALUATION_SEED - most:
        raise ValueError(
            f"scenes {args.seed} to {args.seed + most - 1}: expected some from 0 and before those of evaluations "
            f"({FIRST_EVALUATION_SEED}); choose another --seed"
        )
    out: Path = args.out.absolute()
    check_folder(out, TAKEOVERS)
    os.environ.update(own_domain())
    graph = build_graph(
        {
            "backend": "sim",
            "policy": args.policy,
            "task": args.task,
            "seed": str(args.seed),
            "teleop": "topic",
            "record": str(out / "bag"),
            # The scene says whether it is solved, and the operator when it is enough.
            "reached_steps": "0",
            "stall_commands": "0",
            "unreachable_steps": "0",
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    for line in graph.banner:
        _say(line)
    os.environ.update(graph.environment)
    supervisor = Supervisor(graph.environment, log_folder=out)
    outcomes: list[SceneOutcome] = []
    try:
        supervisor.start(graph.processes)
        assert graph.sim_address is not None
        outcomes = _play(args, graph.sim_address, watching(supervisor), most, out)
    finally:
        supervisor.stop()
    counts = {who: sum(one.solved_by == who for one in outcomes) for who in ("policy", "operator", "nobody")}
    _say(
        f"{len(outcomes)} scenes: the policy solved {counts['policy']}, the operator {counts['operator']}, "
        f"nobody {counts['nobody']}; next: mqe data append STORE {args.out}"
    )
    return 0 if counts["operator"] == args.takeovers else 1


def _play(
    args: argparse.Namespace, address: str, check: Callable[[], None], most: int, out: Path
) -> list[SceneOutcome]:
    """Scene after scene until the operator solved enough of them."""
    from mqe_bringup.operator_node import Operator
    from mqe_bringup.scripted_operator import ScriptedOperator
    from mqe_sim.client import Client

    outcomes: list[SceneOutcome] = []
    with contextlib.closing(Client(address)) as scene, Operator(takes_signals=False, check=check) as asking:
        operator = ScriptedOperator(asking, scene)
        while sum(one.solved_by == "operator" for one in outcomes) < args.takeovers and len(outcomes) < most:
            seed = args.seed + len(outcomes)
            if outcomes:
                operator.next_scene(args.task, seed)
            begin = time.monotonic()
            operator.begin_episode()
            solved_by = "policy" if operator.watch(args.patience) else "nobody"
            policy_s, begin = time.monotonic() - begin, time.monotonic()
            if solved_by == "nobody" and operator.take_over():
                solved_by = "operator"
            operator_s = 0.0 if solved_by == "policy" else time.monotonic() - begin
            operator.end_episode(keep=solved_by == "operator")
            outcomes.append(SceneOutcome(seed, solved_by, round(policy_s, 1), round(operator_s, 1)))
            _say(
                f"scene {seed}: solved by {solved_by}; the policy drove {policy_s:.0f} s, the operator {operator_s:.0f} s"
            )
            table = {"task": args.task, "policy": args.policy, "scenes": [asdict(one) for one in outcomes]}
            write_atomically(out / "takeovers.json", (json.dumps(table, indent=1) + "\n").encode())
    return outcomes


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
