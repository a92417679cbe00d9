"""How far a policy's actions are from the demonstrated ones when the goal lies stages ahead: python
benchmarks/chain_error.py --policy P --data STORE

For the first episode of every scene of several: the error on the same frames with the episode's own end as the goal and
with the end of the scene's last episode. Frames of the last steps are left out, where one retreats for the own end and
may go on for the other. Prints the mean squared error per dimension, of the action's range [-1, 1], over training and
held-out episodes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.rows.held_out import held_out_episodes
from mqe_core.learning.rows.scenes import scene_ends
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.spec import load_robot_spec

_RETREAT_STEPS = 14  # opening the gripper, the way home, and standing still there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="a bundle trained on the store")
    parser.add_argument(
        "--data", type=Path, required=True, help="an episode store of scenes worked through stage by stage"
    )
    parser.add_argument("--task", default="", help="only episodes whose name begins so, such as place2/ (default: all)")
    parser.add_argument("--episodes", type=int, default=80, help="at most so many of each kind (default: %(default)s)")
    parser.add_argument(
        "--validation-fraction", type=float, default=0.03, help="of the training run (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training run (default: %(default)s)")
    args = parser.parse_args()
    store, bundle = EpisodeStore.open(args.data), PolicyBundle.open(args.policy, load_robot_spec())
    scale = ActionScale(
        np.array(bundle.contract.action_low, np.float32), np.array(bundle.contract.action_high, np.float32)
    )
    ends = store.episode_ends
    starts = np.concatenate([[0], ends[:-1]])
    scene_last = np.searchsorted(ends, scene_ends(store))  # number of each scene's last episode
    scene_first = np.concatenate([[0], scene_last[:-1] + 1])
    chains = [
        (int(a), int(b)) for a, b in zip(scene_first, scene_last) if b > a and store.names[a].startswith(args.task)
    ]
    if not chains:
        raise SystemExit(f"{args.data} has no scene of several episodes whose name begins with {args.task!r}")
    held_out = set(held_out_episodes(store, args.validation_fraction, args.seed).tolist())
    np.random.default_rng(0).shuffle(chains)
    for kind, chosen in (
        ("training", [c for c in chains if c[0] not in held_out]),
        ("held out", [c for c in chains if c[0] in held_out]),
    ):
        errors: dict[str, list[np.ndarray]] = {"own end": [], "chain's end": []}
        for first, last in chosen[: args.episodes]:
            frames = np.arange(starts[first], ends[first] - 1 - _RETREAT_STEPS)
            if len(frames) == 0:
                continue
            observations, wanted = store.images(frames, camera=0), scale.normalise(store.actions[frames])
            for goal, end in (("own end", ends[first] - 1), ("chain's end", ends[last] - 1)):
                goals = np.repeat(store.images(np.array([end]), camera=0), len(frames), axis=0)
                errors[goal].append((scale.normalise(bundle.run(observations, goals)["action"]) - wanted) ** 2)
        for goal, squared in errors.items():
            if squared:
                per_dimension = " ".join(f"{value:.3f}" for value in np.concatenate(squared).mean(0))
                print(f"{kind}, {goal}: {per_dimension} ({len(squared)} episodes)")


if __name__ == "__main__":
    main()
