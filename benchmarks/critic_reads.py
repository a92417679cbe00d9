"""What a critic makes of an action: python benchmarks/critic_reads.py RUN --data STORE

RUN is an MQE run with `features_of`, STORE what it learned from. At `--frames` frames of STORE, d((s, a), g) is taken
for 32 actions recorded anywhere and 8 goals, ends of episodes; the state and the ensemble member vary besides.

goal      of the variance of d that an action makes, the share that depends on the goal (1: all, 0: one ranking for all)
state     the same for the state: of the variance that an action makes at the mean goal, the share that is this state's
members   correlation of the two members' rankings of the 32 actions, own mean taken out
clock     rank correlation of an action's d, mean over goals, with the steps that were left where it was recorded
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.export.calibration import rank_correlation
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.robot.arrays import Floats

ACTIONS, GOALS = 32, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200, help="(default: %(default)s)")
    args = parser.parse_args()
    agent, config, metadata = load_run(args.run)
    assert isinstance(agent, MQEAgent) and agent.image_encoder is not None, f"{args.run} is no mqe on features"
    store, rng = EpisodeStore.open(args.data), np.random.default_rng(0)
    train = config.train
    features = FeatureObservations(
        store, train.camera, agent.image_encoder, copies=train.feature_copies, padding=train.augment_padding
    )
    valid = np.flatnonzero(store.valid)
    ends = store.episode_ends
    left = ends[np.searchsorted(ends, np.arange(store.num_frames), side="right")] - np.arange(store.num_frames)
    donors = rng.choice(valid, ACTIONS, replace=False)
    actions = torch.from_numpy(action_scale(metadata).normalise(store.actions[donors]))
    states = agent.critic_encoder(features.take(rng.choice(valid, args.frames, replace=False)))
    goals = agent.critic_encoder(features.take(rng.choice(ends, GOALS, replace=False) - 1))
    with torch.no_grad():
        inputs = torch.cat([states[:, None].expand(-1, ACTIONS, -1), actions[None].expand(len(states), -1, -1)], dim=-1)
        far = agent.head.matrix(agent.phi(inputs.flatten(0, 1)), agent.psi(goals)).unflatten(1, (-1, ACTIONS))
    goal, state, members, clock = shares(far.double().numpy(), left[donors])
    print(f"goal {goal:.3f}, state {state:.3f}, members {members:.2f}, clock {clock:.2f}")


def shares(far: Floats, left: Floats) -> tuple[float, float, float, float]:
    """The four figures, of d (2, S, A, G) of two members and the steps left (A,) where each action was recorded."""
    worst = far.max(axis=0)
    of_actions = worst - worst.mean(axis=1, keepdims=True)  # (S, A, G): what the action makes of d
    at_mean_goal = of_actions.mean(axis=2)  # (S, A)
    goal = 1.0 - at_mean_goal.var() / of_actions.var()
    state = 1.0 - at_mean_goal.mean(axis=0).var() / max(at_mean_goal.var(), 1e-12)
    first, second = (member - member.mean(axis=1, keepdims=True) for member in far)
    members = float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    return float(goal), float(state), members, rank_correlation(at_mean_goal.mean(axis=0), left)


if __name__ == "__main__":
    main()
