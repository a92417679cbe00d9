"""A day at the robot, in the sim: a policy drives scene after scene, and where it does not get there, an operator does.

    python -m mqe_bringup.takeovers --policy policy.onnx --task place1 --takeovers 10 --out runs/day

The operator is a script that sees where the things lie. His hands are a pad: what he does goes through its mapping, the
dead-man and the safety filter, as a person's does. Everything is one recording, OUT/bag. Each scene is an episode of
it, from the policy's first command to the operator's last. A scene that the policy solved by itself, or that nobody
did, is discarded. OUT/takeovers.json says what came of each scene.

It runs in simulated time, in one process, as `mqe eval` does: the same policy and scenes give the same recording. With
--through-ros it is the graph of `mqe up`, in real time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from mqe_bringup.takeover_day import NOBODY, OPERATOR, POLICY, Day, SceneOutcome
from mqe_core.files.disk import write_atomically
from mqe_core.files.kinds import TAKEOVERS
from mqe_core.files.outputs import check_folder
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

_FIRST_SCENE = 500_000  # far from those that people collect from, and before those of evaluations
_SCENES_PER_TAKEOVER = 10  # then the policy is too good to be taken over so often


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="policy file")
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument(
        "--takeovers", type=int, default=10, help="how many scenes the operator solves (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=_FIRST_SCENE, help="the first scene (default: %(default)s)")
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds that the policy has for a scene (default: %(default)s)"
    )
    parser.add_argument("--through-ros", action="store_true", help="in real time, through the graph of mqe up")
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
    """The whole day; 1 where the operator solved fewer scenes than asked for. ValueError for scenes that evaluations
    play, or an `--out` that holds something.
    """
    if args.takeovers < 1 or not 0.0 < args.patience < math.inf:
        raise ValueError(f"takeovers and patience must be above 0, got {args.takeovers} and {args.patience:g}")
    most = _SCENES_PER_TAKEOVER * args.takeovers
    if not 0 <= args.seed <= FIRST_EVALUATION_SEED - most:
        raise ValueError(
            f"scenes {args.seed} to {args.seed + most - 1}: expected some from 0 and before those of evaluations "
            f"({FIRST_EVALUATION_SEED}); choose another --seed"
        )
    check_folder(args.out, TAKEOVERS)
    outcomes: list[SceneOutcome] = []
    counts: Counter[str] = Counter()
    with contextlib.closing(_begin(args)) as day:
        while counts[OPERATOR] < args.takeovers and len(outcomes) < most:
            outcome = day.play(args.seed + len(outcomes), args.patience)
            outcomes.append(outcome)
            counts[outcome.solved_by] += 1
            _say(
                f"scene {outcome.scene_seed}: solved by {outcome.solved_by}; the policy drove {outcome.policy_s:.0f} "
                f"s, the operator {outcome.operator_s:.0f} s"
            )
            table = {"task": args.task, "policy": str(args.policy), "scenes": [asdict(one) for one in outcomes]}
            write_atomically(args.out / "takeovers.json", (json.dumps(table, indent=1) + "\n").encode())
    _say(
        f"{len(outcomes)} scenes: the policy solved {counts[POLICY]}, the operator {counts[OPERATOR]}, nobody "
        f"{counts[NOBODY]}; next: mqe data append STORE {args.out}"
    )
    return 0 if counts[OPERATOR] == args.takeovers else 1


def _begin(args: argparse.Namespace) -> Day:
    if args.through_ros:
        from mqe_bringup.live_day import LiveDay

        return LiveDay(args.policy, args.task, args.seed, args.out.absolute(), _say)
    from mqe_bringup.simulated_day import SimulatedDay

    return SimulatedDay(args.policy, args.task, args.out.absolute())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
