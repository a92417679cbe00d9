"""How steps_to_goal falls along the script's way in held-out scenes: python benchmarks/steps_to_goal.py --policy policy.onnx --task place2

The script solves the whole task, chained stages included; the truth is the number of control steps until it ends. Scenes that it does not
solve are left out. Prints Spearman's rank correlation, its mean over episodes and its range.
"""

from __future__ import annotations

import argparse

import numpy as np

from mqe_core.bundle import PolicyBundle
from mqe_core.images import squash_resize
from mqe_core.learning.calibration import rank_correlation
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED
from mqe_core.spec import load_robot_spec
from mqe_sim.collect import UnreachableError, run_oracle
from mqe_sim.scene import render_goal
from mqe_sim.world import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="a bundle with steps_to_goal")
    parser.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=10, help="held-out scenes (default: %(default)s)")
    args = parser.parse_args()
    spec = load_robot_spec()
    bundle = PolicyBundle.open(args.policy, spec)
    size, world, correlations = bundle.contract.image_size, World(spec), []
    for scene in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.episodes):
        try:
            record = run_oracle(world, args.task, scene)
        except UnreachableError:
            continue
        if record["score"] < record["max_score"]:
            continue
        goal = squash_resize(render_goal(spec, args.task, scene), size)
        observations = np.stack([squash_resize(image, size) for image in record["images"]])
        distance = bundle.run(observations, np.broadcast_to(goal, observations.shape).copy())["steps_to_goal"]
        correlations.append(rank_correlation(distance, np.arange(len(distance))[::-1]))
    print(
        f"{args.task}: rank correlation {np.mean(correlations):.2f} ({min(correlations):.2f} to {max(correlations):.2f}) "
        f"over {len(correlations)} of {args.episodes} scenes"
    )


if __name__ == "__main__":
    main()
