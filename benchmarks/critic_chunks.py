"""Whether a critic of chunks can choose, and whether it reads the goal:

    python -m benchmarks.critic_chunks --raw TREE --data STORE --policy POLICY [--chunk 1 4] [--seeds 3]
        [--contrast none actions goals actions+goals] [--out FILE]

TREE is written by `mqe sim collect --stage --shuffle-stages`, STORE is what `mqe data import` made of it; every fifth
scene is held out. The critic learns on the features of POLICY's encoder, no actor beside it. A chunk of h actions takes
the action's place: d(phi(s, a_t ... a_t+h-1), psi(g)). Waypoints then lie h steps ahead or more; one at the goal where
that is nearer; rows whose chunk leaves the episode are left out; action invariance is that of the chunk.

A contrast is one of the agent's side terms, or several joined by +: actions and goals at weight 1, scenes at 0.1.
`cloning` is no critic but a control: a mean of the same size, trained on the same rows by squared error, that takes the
candidate nearest to it.

The head of benchmarks/critic_questions.py says what the columns mean. A cell is a mean with its 95 % interval over
scenes, and the least and the largest of the seeds. `gain` is chosen - random and chosen - medoid, paired by scene,
`gain*` the latter at the start. `goal*` is object* + swapped* - 1: 0 where the goal has no say, 1 where it has all.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.critic_questions import ALL, REACH, Ask, judge, neighbours, open_world, reach, stage_of
from benchmarks.table_states import table_states
from mqe_core.closed_loop.intervals import paired_difference
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.learning.agents.mqe import MQEAgent, MQEConfig, critic_loss
from mqe_core.learning.networks.critic_contrast import Origin, contrast_loss
from mqe_core.learning.networks.layers import EnsembleMLP
from mqe_core.learning.rows.actions import ActionScale, fit_action_scale
from mqe_core.learning.rows.features import FeatureObservations
from mqe_core.learning.rows.frozen_encoder import encoder_of_bundle
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.robot.arrays import Floats, Ints

SCENES_HELD_OUT = 5  # one of so many
WEIGHTS = {"actions": {"action_contrast": 1.0}, "goals": {"goal_contrast": 1.0}, "scenes": {"scene_contrast": 0.1}}
COLUMNS = (*ALL, "gain random", "gain medoid", *REACH)
DERIVED = ("goal*", "gain*")
_BATCH, _ROWS_OF_A_SCENE, _RATE = 64, 4, 1e-3


@dataclass(frozen=True)
class Rows:
    """The frames of the episodes of a store, N in all: features (N, D), actions (N, 7) as agents see them, the first
    frames and exclusive ends of the episodes, (E,), and the number of the scene of each frame, (N,). Each episode has
    one action less than frames."""

    features: Tensor
    actions: Tensor
    starts: Ints
    ends: Ints
    scene: Ints

    def begins(self, episodes: Ints, chunk: int) -> Ints:
        """All frames at which a chunk of actions begins that ends within its episode."""
        return np.concatenate([np.arange(self.starts[e], self.ends[e] - chunk) for e in episodes] or [np.zeros(0, int)])

    def chunks(self, frames: Ints, chunk: int) -> Tensor:
        """(n,) -> (n, 7 * chunk)."""
        return self.actions[torch.from_numpy(frames[:, None] + np.arange(chunk))].flatten(1)


def draw(
    rng: np.random.Generator, frames: Ints, last: Ints, *, chunk: int, discount: float, lambda_: float, shortest: float
) -> tuple[Ints, Ints]:
    """Waypoints and value goals (n,) of rows that begin at `frames` in episodes with `last` frames (n,).

    The goal lies Geom(1 - discount) ahead, the waypoint max(chunk, Geom(1 - lambda)), or with probability `shortest`
    exactly a chunk, and never beyond the goal.
    """
    steps = np.minimum(rng.geometric(1 - discount, len(frames)), last - frames)
    ahead = np.maximum(chunk, rng.geometric(1 - lambda_, len(frames)))
    ahead = np.where(rng.random(len(frames)) < shortest, chunk, ahead)
    return frames + np.minimum(ahead, steps), frames + steps


def train(
    rows: Rows, episodes: list[Ints], config: MQEConfig, chunk: int, steps: int, seed: int, cloning: bool = False
) -> tuple[MQEAgent, EnsembleMLP]:
    """A critic of chunks, trained on `episodes`: their numbers, an array for each scene. Its actor learns nothing.

    With `cloning` only the other net learns, of (s, g), the chunk; without it only the critic.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    used = np.concatenate([np.arange(rows.starts[e], rows.ends[e]) for scene in episodes for e in scene])
    seen = rows.features[torch.from_numpy(used)]
    width = rows.features.shape[1]
    spec = ObservationSpec("features", state_dim=width)
    agent = MQEAgent(config, spec, 7 * chunk, (seen.mean(0), seen.std(0).clamp(min=1e-3)))
    clone = EnsembleMLP(1, 2 * agent.critic_encoder.out_features, config.hidden_dims, 7 * chunk, True)
    last_of = np.repeat(rows.ends - 1, rows.ends - rows.starts)
    begins = [rows.begins(scene, chunk) for scene in episodes]
    weights = np.array([len(frames) for frames in begins], float)
    critic = [*agent.critic_encoder.parameters(), *agent.phi.parameters(), *agent.psi.parameters()]
    optimiser = torch.optim.Adam(list(clone.parameters()) if cloning else critic, _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        scenes = rng.choice(len(begins), _BATCH // _ROWS_OF_A_SCENE, p=weights / weights.sum())
        frames = np.stack([rng.choice(begins[scene], _ROWS_OF_A_SCENE) for scene in scenes], axis=1).flatten()
        waypoints, goals = draw(
            rng, frames, last_of[frames], chunk=chunk, discount=config.discount, lambda_=config.lambda_,
            shortest=config.next_state_sample,
        )  # fmt: skip
        encoded = agent.critic_encoder(rows.features[torch.from_numpy(np.stack([frames, waypoints, goals]))])
        actions = rows.chunks(frames, chunk)
        if cloning:
            loss = (clone(torch.cat([encoded[0], encoded[2]], dim=-1))[0] - actions).square().mean()
        else:
            origin = Origin(*(torch.from_numpy(numbers) for numbers in (rows.scene[frames], frames, goals)))
            loss = _loss(agent, encoded, actions, torch.from_numpy(waypoints - frames).float(), origin)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return agent, clone


def _loss(agent: MQEAgent, encoded: Tensor, actions: Tensor, waypoint_steps: Tensor, origin: Origin) -> Tensor:
    """Of observations, waypoints and goals (3, B, F)."""
    config = agent.config
    psi_s, psi_waypoint, psi_goal = agent.psi(encoded.flatten(0, 1)).split(len(actions), dim=1)
    phi = agent.phi(torch.cat([encoded[0], actions], dim=-1))
    loss, _ = critic_loss(
        phi, psi_s, psi_waypoint.detach(), psi_goal, waypoint_steps, components=config.components,
        discount=config.discount, linex_clip=config.linex_clip, diagonal_weight=config.diagonal_weight, head=agent.head,
    )  # fmt: skip
    if config.contrasts:
        side, _ = contrast_loss(config, agent.head, agent.phi, encoded[0], actions, phi, psi_s, psi_goal, origin)
        loss = loss + side
    return loss


@torch.no_grad()
def distances(agent: MQEAgent, state: Tensor, chunks: Floats, goal: Tensor) -> Floats:
    """d((s, chunk), g) in control steps of chunks (n, h, 7) at features (D,), the largest of the ensemble, (n,)."""
    seen = agent.critic_encoder(torch.stack([state, goal]))
    asked = torch.from_numpy(chunks.astype(np.float32)).flatten(1)
    phi = agent.phi(torch.cat([seen[:1].expand(len(asked), -1), asked], dim=-1))
    found = agent.head(phi, agent.psi(seen[1:]).expand_as(phi)).amax(0)
    return (found / -np.log(agent.config.discount)).numpy().astype(np.float64)


@torch.no_grad()
def steps_to_goal(agent: MQEAgent, states: Tensor, goals: Tensor) -> Floats:
    """d(s, g) in control steps of features (n, D), the mean of the ensemble, (n,)."""
    psi_s, psi_goal = agent.psi(agent.critic_encoder(torch.cat([states, goals]))).split(len(states), dim=1)
    return (agent.head(psi_s, psi_goal).mean(0) / -np.log(agent.config.discount)).numpy().astype(np.float64)


def asks(agent: MQEAgent, clone: EnsembleMLP, scale: ActionScale, cloning: bool) -> Ask:
    """What is asked of the critic, or, with `cloning`, of the mean."""

    @torch.no_grad()
    def ask(state: Tensor, chunks: Floats, goal: Tensor) -> Floats:
        chunks = scale.normalise(chunks)
        if not cloning:
            return distances(agent, state, chunks, goal)
        mean = clone(agent.critic_encoder(torch.stack([state, goal])).flatten()[None])[0]
        return np.square(chunks.reshape(len(chunks), -1) - mean.numpy()).sum(axis=1)

    return ask


def cell(values: Floats) -> str:
    """Of (seeds, scenes), NaN where one has no answer: mean, interval over scenes, range of the seeds."""
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.shape[1]:
        return "–"
    mean, (low, high) = paired_difference([values.mean(axis=0)])
    seeds, digits = values.mean(axis=1), 1 if np.abs(values).mean() >= 3 else 2
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}; {min(seeds):.{digits}f}–{max(seeds):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", required=True, help="a bundle with an encoder of single images")
    parser.add_argument("--chunk", type=int, nargs="+", default=[1, 4], help="h (default: %(default)s)")
    parser.add_argument("--discount", type=float, nargs="+", default=[0.98], help="gamma (default: %(default)s)")
    parser.add_argument("--contrast", nargs="+", default=["none"], help="none, cloning, or terms joined by +")
    parser.add_argument(
        "--observe", choices=("features", "table"), default="features", help="table: positions, no encoder at all"
    )
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="updates (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, by seed and scene; goes on where it is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    store, encoder = EpisodeStore.open(args.data), encoder_of_bundle(args.policy).encoder
    features = FeatureObservations(store, 0, encoder).take(np.arange(store.num_frames))
    starts = np.concatenate([[0], store.episode_ends[:-1]])
    scenes: dict[tuple[str, int], list[int]] = {}
    for number, name in enumerate(store.names):
        outcome = json.loads((args.raw / name / "outcome.json").read_text())
        scenes.setdefault((outcome["task"], outcome["seed"]), []).append(number)
    held_out = {scene: episodes for scene, episodes in scenes.items() if scene[1] % SCENES_HELD_OUT == 0}
    trained = [np.array(episodes) for scene, episodes in scenes.items() if scene not in held_out]
    used = np.concatenate([np.arange(starts[e], store.episode_ends[e] - 1) for scene in trained for e in scene])
    scale = fit_action_scale(store.actions[used])
    lengths = store.episode_ends - starts
    scene_of = np.zeros(store.num_episodes, int)
    for number, episodes in enumerate(scenes.values()):
        scene_of[episodes] = number
    actions = torch.from_numpy(scale.normalise(store.actions))
    rows = Rows(features, actions, starts, store.episode_ends, np.repeat(scene_of, lengths))
    world = open_world()
    stages = [stage_of(args.raw, store, e, features, world, encoder) for one in held_out.values() for e in one[:-1]]
    if args.observe == "table":
        features, goals = table_states(args.raw, store, world)
        rows, numbers = replace(rows, features=features), [e for one in held_out.values() for e in one[:-1]]
        frames = [slice(starts[e], store.episode_ends[e]) for e in numbers]
        stages = [
            replace(stage, features=features[seen], swapped=goals[e]) for stage, seen, e in zip(stages, frames, numbers)
        ]
    episodes_of = {scene: [features[starts[e] : store.episode_ends[e]] for e in held_out[scene]] for scene in held_out}
    print(f"{len(trained)} scenes, {len(used)} actions; held out {len(held_out)}, {len(stages)} stages", flush=True)
    known = _read(args.out)
    for number, chunk in itertools.product(range(args.seeds), args.chunk):
        begins = rows.begins(np.concatenate(trained), chunk)
        near = neighbours(stages, features[begins], chunk)
        candidates = [store.actions[begins[found][..., None] + np.arange(chunk)] for found in near]
        for discount, contrast in itertools.product(args.discount, args.contrast):
            variant, cloning = (chunk, discount, contrast), contrast == "cloning"
            if (*variant, number) in {line[:4] for line in known}:
                continue
            agent, clone = train(rows, trained, config_of(discount, contrast), chunk, args.steps, number, cloning)
            ask = asks(agent, clone, scale, cloning)
            answers = [judge(ask, chunk, stage, asked) for stage, asked in zip(stages, candidates)]
            far = {} if cloning else reach(functools.partial(steps_to_goal, agent), episodes_of)
            for scene in held_out:
                own = [answer for stage, answer in zip(stages, answers) if stage.scene == scene]
                known.append((*variant, number, *scene, _columns(own, far.get(scene, {}))))
                with args.out.open("a") as file:
                    file.write(json.dumps(known[-1]) + "\n")
            print(f"seed {number}, {variant}: done", flush=True)
    print_table(known)


def config_of(discount: float, contrast: str) -> MQEConfig:
    """What `contrast` stands for."""
    config = MQEConfig(discount=discount, lambda_=0.9, diagonal_weight=0.9, hidden_dims=(256, 256, 256), latent_dim=256)
    for term in contrast.split("+") if contrast not in ("none", "cloning") else []:
        config = replace(config, **WEIGHTS[term])
    return config


Line = tuple[int, float, str, int, str, int, list[float]]  # h, gamma, contrast, seed, task, scene, columns


def _read(path: Path) -> list[Line]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(json.loads(line)) for line in lines]


def print_table(lines: list[Line]) -> None:
    """One row for each variant and task, over the seeds that there are."""
    print(
        f"| h | gamma | contrast | task | seeds | {' | '.join((*COLUMNS, *DERIVED))} |\n|{'---|' * (7 + len(COLUMNS))}"
    )
    for variant in dict.fromkeys((*line[:3], line[4]) for line in lines):
        found: dict[int, list[list[float]]] = {}
        for line in sorted(line for line in lines if (*line[:3], line[4]) == variant):
            found.setdefault(line[3], []).append(line[6])
        values = np.array(list(found.values()))  # (seeds, scenes, columns)
        by_name = dict(zip(COLUMNS, np.moveaxis(values, 2, 0)))
        by_name["goal*"] = by_name["object*"] + by_name["swapped*"] - 1.0
        by_name["gain*"] = by_name["chosen*"] - by_name["medoid*"]
        cells = " | ".join(cell(by_name[name]) for name in (*COLUMNS, *DERIVED))
        print(f"| {' | '.join(map(str, variant))} | {len(values)} | {cells} |", flush=True)


def _columns(answers: list[dict[str, list[float]]], far: dict[str, float]) -> list[float]:
    """The columns of one scene."""
    asked = {name: [value for answer in answers for value in answer[name]] for name in ALL}
    mean = {name: float(np.mean(values)) if values else np.nan for name, values in asked.items()}
    gains = [mean["chosen"] - mean["random"], mean["chosen"] - mean["medoid"]]
    return [*(mean[name] for name in ALL), *gains, *(far.get(name, np.nan) for name in REACH)]


if __name__ == "__main__":
    main()
