"""How steps_to_goal falls along the script's way in held-out scenes: python benchmarks/steps_to_goal.py --policy
policy.onnx --task place2

The script solves the whole task, chained stages included; the truth is the number of control steps until it ends.
Scenes that it does not solve are left out. Prints Spearman's rank correlation, its mean over episodes and its range.

With --store STORE in place of a task: what `mqe export --held-out STORE` would measure of that bundle on its episodes,
the ROC area against goals of other scenes with its 95 % interval (bootstrap over scenes), and whether goals would be
refused.
"""

from __future__ import annotations

import argparse

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.learning.export.calibration import AnyFloats, distances, rank_correlation
from mqe_core.learning.export.reach_calibration import calibrate_reach, scenes_roc_area
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.arrays import Images
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.scene import render_goal
from mqe_sim.world import World

_RESAMPLES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="a bundle with steps_to_goal")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--task", default="place1", help="task name (default: %(default)s)")
    what.add_argument("--store", help="an EpisodeStore of episodes that no training saw")
    parser.add_argument("--episodes", type=int, default=10, help="held-out scenes (default: %(default)s)")
    args = parser.parse_args()
    spec = load_robot_spec()
    bundle = PolicyBundle.open(args.policy, spec)
    if args.store is not None:
        tell_store(bundle, EpisodeStore.open(args.store))
    else:
        tell_task(bundle, spec, args.task, args.episodes)


def tell_task(bundle: PolicyBundle, spec: RobotSpec, task: str, episodes: int) -> None:
    """Along the script's way in held-out scenes."""
    size, world, correlations = bundle.contract.image_size, World(spec), []
    for scene in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + episodes):
        try:
            record = run_oracle(world, task, scene)
        except UnreachableError:
            continue
        if record.outcome.score < record.outcome.max_score:
            continue
        goal = squash_resize(render_goal(spec, task, scene), size)
        observations = np.stack([squash_resize(image, size) for image in record.images])
        distance = bundle.run(observations, np.broadcast_to(goal, observations.shape).copy())["steps_to_goal"]
        correlations.append(rank_correlation(distance, np.arange(len(distance))[::-1]))
    print(
        f"{task}: rank correlation {np.mean(correlations):.2f} ({min(correlations):.2f} to "
        f"{max(correlations):.2f}) "
        f"over {len(correlations)} of {episodes} scenes"
    )


def tell_store(bundle: PolicyBundle, store: EpisodeStore) -> None:
    """On the episodes of a store."""

    def steps_to_goals(observations: Images, goals: Images) -> AnyFloats:
        there = (np.repeat(goal[None], len(observations), axis=0) for goal in goals)
        return np.stack([bundle.run(observations, goal)["steps_to_goal"] for goal in there])

    measured = distances(steps_to_goals, store, store.cameras[0], np.arange(store.num_episodes))
    result = calibrate_reach(measured.scenes)
    for name, value in result.metrics.items():
        print(f"{name:32} {value:.4g}")
    rng, count = np.random.default_rng(0), len(measured.scenes)
    drawn = [[measured.scenes[i] for i in rng.integers(count, size=count)] for _ in range(_RESAMPLES)]
    areas = [area for scenes in drawn if (area := scenes_roc_area(scenes)) is not None]
    if areas:
        low, high = np.quantile(areas, [0.025, 0.975])
        print(f"ROC area, 95 % interval          {low:.3f} to {high:.3f}")
    correlation = np.mean([rank_correlation(d, r) for d, r in zip(measured.own, measured.remaining)])
    print(f"rank correlation                 {correlation:.3f} over {len(measured.own)} episodes")
    print(f"goals of other scenes            {result.why_off or 'refused'}")


if __name__ == "__main__":
    main()
