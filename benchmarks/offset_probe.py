"""How precisely frozen features know where the hand and the objects are: python -m benchmarks.offset_probe --raw TREE
--data STORE --policy POLICY

TREE is written by `mqe sim collect --stage` for place tasks, STORE is what `mqe data import` made of it. At frames of
first stages with free fingers ridge regressions predict, from the features alone, the hand's position, each object's,
and the offset between the two, in the plane. Every fifth scene is held out; it chooses the ridge too, so errors are a
little on the low side. Prints the median error in mm, and that of always saying the mean.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.critic_questions import open_world
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.frozen_encoder import encoder_of_bundle
from mqe_core.robot.arrays import Bools, Floats
from mqe_sim.tasks import make_task
from mqe_sim.tasks.place import PlaceTask

_RIDGES, _FREE = (0.1, 1.0, 10.0, 100.0, 1000.0), 0.8


def error_mm(inputs: Floats, wanted_m: Floats, held_out: Bools) -> tuple[float, float]:
    """Median distance, in mm, of `wanted_m` (n, 2) from what `inputs` (n, D) tell of it, and from the mean."""
    mean, scale = inputs[~held_out].mean(0), inputs[~held_out].std(0) + 1e-3
    inputs = (inputs - mean) / scale
    centre = wanted_m[~held_out].mean(0)
    x, y = inputs[~held_out], wanted_m[~held_out] - centre
    errors = []
    for ridge in _RIDGES:
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
        errors.append(
            float(np.median(np.linalg.norm(inputs[held_out] @ weights + centre - wanted_m[held_out], axis=1)))
        )
    blind = np.median(np.linalg.norm(wanted_m[held_out] - centre, axis=1))
    return 1000 * min(errors), 1000 * float(blind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", required=True, help="a bundle with an encoder of single images")
    args = parser.parse_args()
    store, world = EpisodeStore.open(args.data), open_world()
    features = FeatureObservations(store, 0, encoder_of_bundle(args.policy).encoder)
    starts = np.concatenate([[0], store.episode_ends[:-1]])
    found: dict[str, list[tuple[Floats, Floats, Floats, bool]]] = {}
    for number, name in enumerate(store.names):
        outcome = json.loads((args.raw / name / "outcome.json").read_text())
        if any(outcome["stages_before"]):
            continue
        scene = make_task(outcome["task"], world, outcome["seed"])
        assert isinstance(scene, PlaceTask)
        things = np.array([world.position(body)[:2] for body in scene.objects])
        frames = np.arange(starts[number], store.episode_ends[number])
        states = store.states[frames]
        grasped = np.flatnonzero(states[:, 6] < _FREE)  # from there on an object may have moved
        frames = frames[: grasped[0] if len(grasped) else len(frames)]
        entry = (features.take(frames).numpy(), store.states[frames][:, :2], things, outcome["seed"] % 5 == 0)
        found.setdefault(outcome["task"], []).append(entry)
    for task, entries in found.items():
        inputs = np.concatenate([entry[0] for entry in entries]).astype(np.float64)
        hand = np.concatenate([entry[1] for entry in entries])
        things = np.concatenate([np.repeat(entry[2][None], len(entry[0]), axis=0) for entry in entries])
        held_out = np.concatenate([np.full(len(entry[0]), entry[3]) for entry in entries])
        print(f"{task}: {len(inputs)} frames of {len(entries)} scenes; error in mm (of the mean)")
        print(f"hand: {'{:.0f} ({:.0f})'.format(*error_mm(inputs, hand, held_out))}")
        for index in range(things.shape[1]):
            place = error_mm(inputs, things[:, index], held_out)
            offset = error_mm(inputs, things[:, index] - hand, held_out)
            print(
                f"object {index + 1}: {place[0]:.0f} ({place[1]:.0f}), from the hand {offset[0]:.0f} ({offset[1]:.0f})"
            )


if __name__ == "__main__":
    main()
