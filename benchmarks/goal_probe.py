"""What a linear probe reads from an encoder's features: python benchmarks/goal_probe.py --data STORE --policy POLICY

The store holds scenes worked through stage by stage (`mqe sim collect --stage`). From the features of an early frame
and of the episode's last one, the goal, the probe tells which stage is meant; from those of any frame it tells where
the hand is. A critic on these features can know no more than they hold. Scenes are kept apart: every fifth is tested.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.frozen_encoder import encoder_of_bundle
from mqe_core.robot.arrays import Floats

EARLY = 5  # frames at an episode's beginning, before much has moved
_RIDGE = 1.0  # on standardised features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", required=True, help="a bundle with an encoder of single images")
    parser.add_argument(
        "--tasks", nargs="+", default=["place2", "place4", "drawer_place"], help="(default: %(default)s)"
    )
    args = parser.parse_args()
    store = EpisodeStore.open(args.data)
    features = FeatureObservations(store, 0, encoder_of_bundle(args.policy).encoder).take(np.arange(store.num_frames))
    seen = features.numpy().astype(np.float64)
    ends = store.episode_ends
    starts = np.concatenate([[0], ends[:-1]])
    print("| task | scenes | which stage is meant | chance | hand, mm |\n|---|---|---|---|---|")
    for task in args.tasks:
        episodes = [number for number, name in enumerate(store.names) if name.startswith(f"{task}/")]
        stages = np.array([int(re.findall(r"traj(\d+)$", store.names[number])[0]) for number in episodes])
        scenes = np.unique([store.names[number].split("/raw/")[0] for number in episodes], return_inverse=True)[1]
        early = [np.arange(starts[number], min(starts[number] + EARLY, ends[number])) for number in episodes]
        inputs = np.concatenate(
            [np.hstack([seen[rows], seen[[ends[n] - 1] * len(rows)]]) for n, rows in zip(episodes, early)]
        )
        inputs = np.hstack([inputs, inputs[:, seen.shape[1] :] - inputs[:, : seen.shape[1]]])
        labels, scene = (np.repeat(values, [len(rows) for rows in early]) for values in (stages, scenes))
        tested = scene % 5 == 0
        one_hot = np.eye(stages.max() + 1)[labels]
        right = (ridge(inputs[~tested], one_hot[~tested], inputs[tested]).argmax(1) == labels[tested]).astype(float)
        accuracy, (low, high) = paired_difference(
            [np.array([right[scene[tested] == s].mean() for s in np.unique(scene[tested])])]
        )
        chance = np.bincount(labels[tested]).max() / tested.sum()
        frames = np.concatenate([np.arange(starts[n], ends[n]) for n in episodes])
        apart = np.repeat(scenes, [ends[n] - starts[n] for n in episodes]) % 5 == 0
        hand = store.states[frames, :3].astype(np.float64)
        read = ridge(seen[frames[~apart]], hand[~apart], seen[frames[apart]])
        error_mm = 1000 * np.linalg.norm(read - hand[apart], axis=1).mean()
        stage = f"{accuracy:.2f} ({low:.2f} to {high:.2f})"
        print(f"| {task} | {scenes.max() + 1} | {stage} | {chance:.2f} | {error_mm:.0f} |")


def ridge(inputs: Floats, outputs: Floats, asked: Floats) -> Floats:
    """Linear regression of (n, out) on (n, in), standardised and with a small penalty, applied to (m, in)."""
    middle, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    x, offset = (inputs - middle) / spread, outputs.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ (outputs - offset))
    return np.asarray((asked - middle) / spread @ weights + offset)


if __name__ == "__main__":
    main()
