"""At what horizon d(s, g) tells the way along a chain of stages, with true positions in place of pictures:

    python -m benchmarks.true_states --task place2 --scenes 24 --seed 299000 --out HELD_OUT
    python -m benchmarks.chain_reads DATA HELD_OUT --work FOLDER --runs critic "critic contrasts" [--seeds 0 1 2]

DATA and FOLDER are those of benchmarks/closed_loop_states.py, whose runs are asked; what was not trained is.

First along demonstrations of HELD_OUT, two stages a scene; the chain's goal is where the second one ends:

    rank, chain  rank correlation of d(s, g) with the steps that are left, in an episode to its end, and over both
    start, between, end  d(s, g) to the chain's goal where each stage begins, and where the chain ends (steps)
    seam         by how much the second stage's begin is farther than the first one's end
    own h        how often the goal of the episode is nearer h steps later
    chain h      the same of the chain's goal, within its first stage

Then of what may come. From the start of evaluation scenes, with all stages open, the goal-blind flow is followed N
times with other noise, in a learned model of the table. The steps that are then left are reckoned from the places of
all things.

    right h      how often d(s', g) after h steps is less for one of the best quarter of the futures than for one of
                 the worst; with h = 0 d((s, a), g) of the first action, judged by what is left after 5 steps
    gain h       by how many steps the future that d prefers is better than all on average; beside that of the best one
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.true_states import TrueStates, seen
from benchmarks.true_states_ahead import StateModel, futures, steps_between, train_model
from benchmarks.true_states_methods import load, train
from benchmarks.true_states_play import Driven, right
from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.data.names import scene_of
from mqe_core.learning.agents.mqe import MQEAgent
from mqe_core.learning.export.calibration import rank_correlation
from mqe_core.learning.networks.actor import Agent
from mqe_core.learning.networks.flow import FlowActor
from mqe_core.robot.arrays import Float32s, Floats
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

STEPS_LATER = (1, 5, 10, 20)
HORIZONS = (1, 5, 10, 20, 40)
_STEP_M, _HOVER_M, _GRASP_STEPS, _RELEASE_STEPS = 0.035, 0.10, 4.0, 5.0
_OVER_M, _DONE_M, _ON_TABLE_M, _HELD_M, _FREE = 0.03, 0.022, 0.045, 0.02, 0.8

Distance = Callable[[Float32s, Float32s], Floats]  # of states as they are seen (n, D) to one goal (D,) -> (n,)


def along(distance: Distance, episodes: list[Float32s]) -> dict[str, float]:
    """The columns of one scene, of its episodes in their order, (T, D) each."""
    first, second = episodes
    goal = second[-1]
    to_goal, after = distance(first, goal), distance(second, goal)
    found = {
        "rank": float(np.mean([falls(distance(one, one[-1])) for one in episodes])),
        "chain": falls(np.concatenate([to_goal, after])),
        "start": float(to_goal[0]),
        "between": float(after[0]),
        "end": float(after[-1]),
        "seam": float(after[0] - to_goal[-1]),
    }
    for name, ways in (("own", [distance(one, one[-1]) for one in episodes]), ("chain", [to_goal])):
        for steps in STEPS_LATER:
            nearer = np.concatenate([way[steps:] < way[:-steps] for way in ways])
            found[f"{name} {steps}"] = float(nearer.mean()) if len(nearer) else np.nan
    return found


def falls(distances: Floats) -> float:
    """The rank correlation with the steps to the end."""
    return rank_correlation(distances, np.arange(len(distances), 0, -1))


def steps_left(states: Floats) -> Floats:
    """(N,): about how many control steps are left to put all objects of states (N, 7 + 6 n) onto their targets.

    Straight ways at the script's speed, the objects in the order in which that is least; home is left out.
    """
    return np.array([_left(state[:3], state[6], *state[7:].reshape(2, -1, 3)) for state in states])


def _left(hand: Floats, opening: float, things: Floats, targets: Floats) -> float:
    off = np.linalg.norm((things - targets)[:, :2], axis=1)
    waiting = [i for i in range(len(things)) if off[i] > _DONE_M or things[i, 2] > _ON_TABLE_M]
    held = [i for i in range(len(things)) if opening < _FREE and np.linalg.norm(hand - things[i]) < 2 * _HELD_M]
    if held:  # also one that is on its target: the fingers are still closed
        (i, *_), there = held, targets[held[0]]
        rest = [j for j in waiting if j != i]
        over = off[i] > _OVER_M
        carry = (
            over * max(0.0, _HOVER_M - hand[2]) + off[i] + max(0.0, (_HOVER_M if over else hand[2]) - 0.03)
        ) / _STEP_M
        return carry + _RELEASE_STEPS + _shortest(np.array([*there[:2], _HOVER_M]), things, targets, rest)
    return _shortest(hand, things, targets, waiting)


def _shortest(hand: Floats, things: Floats, targets: Floats, waiting: list[int]) -> float:
    """Steps for what is waiting, with free fingers at `hand`."""
    if not waiting:
        return 0.0
    ways = []
    for i in waiting:
        aside = float(np.linalg.norm(hand[:2] - things[i, :2]))
        up = max(0.0, _HOVER_M - hand[2]) if aside > _OVER_M else 0.0
        down = max(hand[2], _HOVER_M) if aside > _OVER_M else hand[2]
        fetch = (up + aside + abs(down - things[i, 2])) / _STEP_M + _GRASP_STEPS
        carry = (2 * _HOVER_M + float(np.linalg.norm((things[i] - targets[i])[:2]))) / _STEP_M + _RELEASE_STEPS
        there = np.array([*targets[i, :2], _HOVER_M])
        ways.append(fetch + carry + _shortest(there, things, targets, [j for j in waiting if j != i]))
    return min(ways)


def judged(agent: Agent, flow: FlowActor, goal: Floats, noise: Floats, states: Floats) -> dict[str, float]:
    """The columns of one scene's futures."""
    left, found = {steps: steps_left(states[steps]) for steps in HORIZONS}, {}
    for steps, truth in left.items():
        told = steps_between(agent, seen(states[steps]), seen(goal))
        found[f"right {steps}"] = right(told, truth)
        found[f"gain {steps}"] = float(truth.mean() - truth[told.argmin()])
        found[f"best {steps}"] = float(truth.mean() - truth.min())
    if isinstance(agent, MQEAgent):
        agent.actor, flow.noise = flow, torch.from_numpy(noise[0])
        with torch.no_grad():
            told = agent.chosen(*(torch.from_numpy(seen(x))[None] for x in (states[0, 0], goal))).distances[0].numpy()
        found["right 0"] = right(told.astype(np.float64), left[5])
        found["gain 0"] = float(left[5].mean() - left[5][told.argmin()])
    return found


def model_errors(model: StateModel, data: TrueStates, actions: torch.Tensor) -> dict[int, tuple[float, float]]:
    """By h, mm: how far the hand and the object that moves most are from where the recorded actions really led."""
    found = {}
    for steps in HORIZONS[:-1]:
        begins = np.flatnonzero(data.valid)
        ends_of = data.episode_ends[np.searchsorted(data.episode_ends, begins, side="right")]
        begins = begins[begins + steps < ends_of]
        states = data.states[begins, : data.width].astype(np.float64)
        for step in range(steps):
            states = model(states, actions[torch.from_numpy(begins + step)])
        true = data.states[begins + steps, : data.width]
        hand = np.linalg.norm(states[:, :3] - true[:, :3], axis=1)
        objects = np.linalg.norm((states - true)[:, 7 : model.moving].reshape(len(true), -1, 3), axis=2).max(axis=1)
        found[steps] = 1000 * float(hand.mean()), 1000 * float(objects.mean())
    return found


def table(rows: dict[str, list[list[dict[str, float]]]]) -> None:
    """By run its seeds' scenes: means over seeds, intervals over scenes."""
    names = list(dict.fromkeys(name for seeds in rows.values() for scenes in seeds for one in scenes for name in one))
    print("| run | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for run, seeds in rows.items():
        cells = []
        for name in names:
            values = np.array([[scene.get(name, np.nan) for scene in scenes] for scenes in seeds])
            values = values[:, np.isfinite(values).all(axis=0)]
            mean, (low, high) = paired_difference([values.mean(axis=0)]) if values.size else (np.nan, (np.nan,) * 2)
            digits = 1 if name.split()[0] in ("start", "between", "end", "seam", "gain", "best") else 2
            cells.append(f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
        print(f"| {run} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="what benchmarks.true_states wrote")
    parser.add_argument("held_out", type=Path, help="other scenes of the same task")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", default=["critic", "critic contrasts", "critic gciql"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="updates of each run (default: its own)")
    parser.add_argument("--copies", type=int, default=8, help="of each scene, moved (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=12, help="whose futures are seen (default: %(default)s)")
    parser.add_argument("--candidates", type=int, default=16, help="futures of each (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, others = TrueStates(args.data, args.copies), TrueStates(args.held_out)
    args.work.mkdir(parents=True, exist_ok=True)
    ends = others.episode_ends
    scenes: dict[str, list[Float32s]] = {}
    for name, begin, end in zip(others.names, np.concatenate([[0], ends[:-1]]), ends):
        scenes.setdefault(scene_of(name), []).append(others.states[begin:end])
    chains = [episodes for episodes in scenes.values() if len(episodes) == 2]
    train(data, "blind", 0, args.steps, args.work)
    proposer, scale = load(data, "blind", 0, args.work)
    flow = proposer.actor
    assert isinstance(flow, FlowActor)
    model = train_model(data, scale.normalise(data.actions), 0, args.work / "model-0.pt")
    errors = model_errors(model, others, torch.from_numpy(scale.normalise(others.actions)))
    print(f"{len(chains)} chains; model, mm off after h steps (hand, object):", errors, flush=True)
    along_rows, futures_rows, seen_futures = {}, {}, []
    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + args.scenes):
        scene = Driven(data.task, seed)
        noise = np.random.default_rng(seed).standard_normal((max(HORIZONS), args.candidates, 7)).astype(np.float32)
        after = futures(model, flow, scene.now, seen(scene.goal), torch.from_numpy(noise))
        now = np.repeat(scene.now[None, None], args.candidates, axis=1)
        seen_futures.append((scene.goal, noise, np.concatenate([now, after])))
    for run in args.runs:
        along_rows[run], futures_rows[run] = [], []
        for seed in args.seeds:
            train(data, run, seed, args.steps, args.work)
            agent, _ = load(data, run, seed, args.work)
            distance = functools.partial(steps_between, agent)
            along_rows[run].append([along(distance, chain) for chain in chains])
            futures_rows[run].append([judged(agent, flow, *one) for one in seen_futures])
        print(f"{run}: done", flush=True)
    table(along_rows)
    table(futures_rows)


if __name__ == "__main__":
    main()
