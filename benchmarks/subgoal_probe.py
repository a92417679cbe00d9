"""Whether what a run with `proposal_steps` proposes could be seen, and whether its policy can use it:

    python -m benchmarks.subgoal_probe RUN STORE [--frames 400]

RUN learned on the features of STORE (`features_of`). Asked are frames that it held out, and frames that it saw; the
goal is where their episode ends.

    steps     from the frame to the goal
    d         d(s, g) in control steps, of the frame itself, of what was seen h steps later, of that with its change
              cut to the 64 directions in which changes vary most, of the proposals on average and of the nearest
    kept      the share of the changes' variance that these directions hold
    off       mean squared distance of the proposals from what was seen h steps later, in standard deviations: of all,
              and of the best
    motion    mean squared error of the policy's motion, in [-1, 1], asked for: the goal, what was seen h steps later,
              the best proposal, the nearest by d, one by chance
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents.mqe import MQEAgent, MQEConfig
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder
from mqe_core.learning.rows.held_out import held_out_frames
from mqe_core.learning.run.run_folder import action_scale, load_run

_DIRECTIONS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--frames", type=int, default=400, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    agent, config, metadata = load_run(args.run)
    if not (isinstance(agent, MQEAgent) and isinstance(config.agent, MQEConfig) and config.agent.proposal_steps):
        parser.error(f"{args.run} proposes nothing: name a run of mqe with proposal_steps")
    store = EpisodeStore.open(args.store)
    features = FeatureObservations(store, metadata["camera"], FrozenEncoder.load(args.run).encoder)
    actions = torch.from_numpy(action_scale(metadata).normalise(np.nan_to_num(store.actions)))
    held_out = held_out_frames(store, config.train.validation_fraction, config.train.seed)
    ends = store.episode_ends
    last = ends[np.searchsorted(ends, np.arange(store.num_frames), side="right")] - 1
    for name, kind in (("held out", held_out), ("seen", ~held_out)):
        valid = np.flatnonzero(kind & store.valid)
        frames = np.random.default_rng(0).choice(valid, min(args.frames, len(valid)), replace=False)
        later = np.minimum(frames + config.agent.proposal_steps, last[frames])
        now, then, goal = (features.take(index) for index in (frames, later, last[frames]))
        told = probe(agent.eval(), features.statistics()[1], now, then, goal, actions[torch.from_numpy(frames), :3])
        told["steps"] = float((last[frames] - frames).mean())
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in told.items()))


@torch.no_grad()
def probe(
    agent: MQEAgent, deviation: Tensor, now: Tensor, later: Tensor, goal: Tensor, motion: Tensor
) -> dict[str, float]:
    """The columns, of features (n, D), whose standard deviation is (D,), and what was done (n, 3)."""
    assert agent.proposals is not None
    proposals = agent.proposals(now)  # (n, N, D)
    off = ((proposals - later[:, None]) / deviation).square().mean(-1)
    change = (later - now) / deviation
    mean = change.mean(0)
    _, sizes, directions = torch.linalg.svd(change - mean, full_matrices=False)
    main = directions[:_DIRECTIONS]
    cut = now + deviation * (mean + (change - mean) @ main.T @ main)
    each = torch.arange(len(now))

    def d(seen: Tensor, to: Tensor) -> Tensor:
        psi, psi_goal = (agent.psi(agent.critic_encoder(x)) for x in (seen, to))
        return agent.head(psi, psi_goal).mean(0) / -math.log(agent.config.discount)

    def missed(asked: Tensor) -> float:
        return float((agent.actor(now, asked).mean.clamp(-1.0, 1.0)[:, :3] - motion).square().mean())

    choice = agent.chosen(now, goal)
    chance = torch.from_numpy(np.random.default_rng(0).integers(proposals.shape[1], size=len(now)))
    found = {
        "d now": d(now, goal).mean(),
        "d later": d(later, goal).mean(),
        "d cut": d(cut, goal).mean(),
        "kept": sizes[:_DIRECTIONS].square().sum() / sizes.square().sum(),
        "d proposals": choice.distances.mean(),
        "d nearest": choice.distances.amin(1).mean(),
        "off": off.mean(),
        "off best": off.amin(1).mean(),
        "motion to goal": missed(goal),
        "motion to later": missed(later),
        "motion to best": missed(proposals[each, off.argmin(1)]),
        "motion to nearest": missed(proposals[each, choice.chosen]),
        "motion to chance": missed(proposals[each, chance]),
    }
    return {key: float(value) for key, value in found.items()}


if __name__ == "__main__":
    main()
