"""Whether a critic can choose between actions: python benchmarks/critic_choice.py RUN [RUN...] --data STORE

In held-out scenes the script does the first stage of a task; the goal is where its episode ends. At every frame at
which the hand is still empty, the critic's d((s, a), g), the largest of its ensemble, is asked four questions:

object    is the demonstrated action nearer than the script's action for another object that could be moved now?
gripper   is it nearer than the same action with the gripper the other way? (all frames; opening and closing alike)
choice    of the actions of the 32 recorded frames whose features are nearest, which one is least far? Its distance from
          the demonstrated action in mm, beside that of one at random, of their medoid and of their mean
change    the spread of d over those 32 actions, against how much d changes from one frame to the next

The first two are shares of pairs, so areas under the ROC curve within frames: 0.5 is chance. Intervals are 95 %, over
scenes. RUN is a folder trained with `features_of`; STORE is what it was trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.world import World

NEIGHBOURS = 32
_APART_M = 0.01  # two actions that are nearer to one another lead to the same place
_OPEN = 0.8  # measured opening of a gripper that holds nothing
Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scene:
    """T − 1 steps of one stage: features (T, D), actions (T − 1, 7), the script's for other stages (T − 1, n, 7) with
    NaN, and the measured opening of the gripper (T − 1,)."""

    features: np.ndarray
    actions: np.ndarray
    others: np.ndarray
    opening: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of mqe on the features of one encoder")
    parser.add_argument("--data", type=Path, required=True, help="the store they were trained on")
    parser.add_argument(
        "--tasks", nargs="+", default=["place2", "place4", "drawer_place"], help="(default: %(default)s)"
    )
    parser.add_argument("--scenes", type=int, default=50, help="held-out scenes of each task (default: %(default)s)")
    args = parser.parse_args()
    agent, config, metadata = load_run(args.runs[0])
    assert agent.image_encoder is not None, f"{args.runs[0]} was not trained on features"
    store = EpisodeStore.open(args.data)
    train = config.train
    recorded = FeatureObservations(
        store, train.camera, agent.image_encoder, copies=train.feature_copies, padding=train.augment_padding
    )  # as in training, so that they lie there already; asked is the plain copy
    frames = np.flatnonzero(store.valid & recorded.available)
    actions, features = store.actions[frames], recorded.take(frames).numpy()
    scenes = {task: play(task, args.scenes, agent.image_encoder, store.image_size) for task in args.tasks}
    print("| run | task | object | gripper | chosen mm | random mm | medoid mm | mean mm | change |")
    print("|---|---|---|---|---|---|---|---|---|")
    for run in args.runs:
        agent, _, metadata = load_run(run)
        assert isinstance(agent, MQEAgent), f"{run} has no critic of states and actions"
        for task in args.tasks:
            rows = [judge(agent, action_scale(metadata), scene, features, actions) for scene in scenes[task]]
            print(f"| {run.name} | {task} | {' | '.join(cell(rows, column) for column in rows[0])} |", flush=True)


def cell(rows: list[dict[str, list[float]]], column: str) -> str:
    """The mean over scenes, with its interval; scenes without an answer are left out."""
    means = np.array([np.mean(row[column]) for row in rows if row[column]])
    if not len(means):
        return "–"
    mean, (low, high) = paired_difference([means])
    return f"{mean:.2f} ({low:.2f} to {high:.2f})" if high < 10 else f"{mean:.1f} ({low:.1f} to {high:.1f})"


@torch.no_grad()
def play(task: str, count: int, encoder: Encode, image_size: int) -> list[Scene]:
    """The script's first stage in `count` held-out scenes; those in which it is not done are left out."""
    world, scenes = World(load_robot_spec()), []
    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + count):
        try:
            record = run_oracle(world, task, seed, stage=0)
        except UnreachableError:
            continue
        if not record.outcome.shows_one_stage:
            continue
        images = np.stack([squash_resize(image, image_size) for image in record.images])
        scenes.append(
            Scene(
                encoder(torch.from_numpy(images)).to(torch.float16).float().numpy(),  # as the store keeps them
                record.actions,
                record.stage_actions[:, 1:],
                record.full_state[:-1, 6],
            )
        )
    world.close()
    return scenes


def judge(
    agent: MQEAgent, scale: ActionScale, scene: Scene, features: np.ndarray, actions: np.ndarray
) -> dict[str, list[float]]:
    """What comes of one scene, by column; the recorded frames have `features` (N, D) and `actions` (N, 7)."""
    found: dict[str, list[float]] = {
        name: [] for name in ("object", "gripper", "chosen", "random", "medoid", "mean", "change")
    }
    rng, goal = np.random.default_rng(0), torch.from_numpy(scene.features[-1])
    before, spreads, changes = None, [], []
    for frame, opening, action, others in zip(scene.features, scene.opening, scene.actions, scene.others):
        flipped = np.concatenate([action[:6], [1.0 - action[6]]])
        here = torch.from_numpy(frame)
        own, other_way = distances(agent, here, scale.normalise(np.stack([action, flipped])), goal)
        found["gripper"].append(_nearer(own, other_way))
        if before is not None:
            changes.append(abs(own - before))
        before = own
        if opening < _OPEN or action[6] < 0.5:
            continue
        ways = [way for way in others if np.linalg.norm(way[:3] - action[:3]) > _APART_M]  # NaN is not
        if ways:
            found["object"] += [
                _nearer(own, far) for far in distances(agent, here, scale.normalise(np.stack(ways)), goal)
            ]
        near = actions[np.argpartition(((features - frame) ** 2).sum(axis=1), NEIGHBOURS)[:NEIGHBOURS]]
        far = distances(agent, here, scale.normalise(near), goal)
        error_mm = 1000 * np.linalg.norm(near[:, :3] - action[:3], axis=1)
        apart = np.linalg.norm(near[:, None, :3] - near[None, :, :3], axis=2).sum(axis=1)
        found["chosen"].append(float(error_mm[far.argmin()]))
        found["random"].append(float(error_mm[rng.integers(NEIGHBOURS)]))
        found["medoid"].append(float(error_mm[apart.argmin()]))
        found["mean"].append(float(1000 * np.linalg.norm(near[:, :3].mean(axis=0) - action[:3])))
        spreads.append(far.std())
    if spreads and np.any(changes):
        found["change"].append(float(np.mean(spreads) / np.mean(changes)))
    return found


def _nearer(own: float, other: float) -> float:
    return float(own < other) + 0.5 * float(own == other)


@torch.no_grad()
def distances(agent: MQEAgent, observation: Tensor, actions: np.ndarray, goal: Tensor) -> np.ndarray:
    """d((s, a), g) in control steps of n actions (n, 7), normalised, for features (D,); the largest of the ensemble."""
    seen = agent.critic_encoder(torch.stack([observation, goal]))
    states = seen[:1].expand(len(actions), -1)
    phi = agent.phi(torch.cat([states, torch.from_numpy(actions)], dim=-1))
    goals = agent.psi(seen[1:].expand(len(actions), -1))
    return (agent.head(phi, goals).amax(0) / -np.log(agent.config.discount)).numpy()


if __name__ == "__main__":
    main()
