"""What a critic of chunks is asked at the frames of held-out episodes, for benchmarks/critic_chunks.py.

At the frames at which the fingers are free and another stage is open, against the picture at the episode's end:

object   is the script's action for the stage (h times, without noise) nearer than that for another open stage?
swapped  the same, where the goal shows the *other* object alone on its target (place tasks): a critic that reads the
         goal stays above 0.5, one that knows the habit alone falls below
gripper  is the chunk nearer than the same with the gripper the other way? (all frames)
chosen   of the chunks of the 32 recorded frames whose features are nearest, how far is the nearest one's mean motion
         from the demonstrated one, mm a step; beside the mean error of all (random), their medoid, their mean and the
         best there is
...*     the same at the first 3 frames of an episode that was not disturbed. Later the hand is on its way, and where it
         is tells what is meant: in the data it always agrees with the goal

At all frames 8 steps or more before the end of the episode, from d(s, g), the mean of the ensemble:

roc      probability that a goal of the scene, this episode's end or a later one's, is nearer than one of another scene
rank     rank correlation with the steps that are left, within episodes
chain    the same from a scene's first frame to its last, over all of its stages

Shares of pairs are areas under the ROC curve within frames: 0.5 is chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.learning.export.calibration import rank_correlation
from mqe_core.learning.export.reach_calibration import roc_area
from mqe_core.robot.arrays import Floats, Ints
from mqe_core.robot.spec import load_robot_spec
from mqe_core.safe_pickle import load as load_pickle
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.tasks import make_task
from mqe_sim.tasks.home import HOME_STATE, solve_joints
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.world import World

NEIGHBOURS = 32
CHOICE = ("object", "swapped", "gripper", "chosen", "random", "medoid", "mean", "best")
AT_START = ("object", "swapped", "chosen", "random", "medoid")
ALL = (*CHOICE, *(f"{name}*" for name in AT_START))
REACH = ("roc", "rank", "chain")
_APART_M, _FREE, _OPEN = 0.01, 0.8, 0.5  # two actions nearer lead to one place; measured and commanded opening
_FAR_STEPS, _OTHER_GOALS = 8, 8
_START = 3  # frames

Encode = Callable[[Tensor], Tensor]
# Features (D,), chunks (n, h, 7) in physical units, and a goal's features (D,) -> (n,), the least is chosen
Ask = Callable[[Tensor, Floats, Tensor], Floats]
Distance = Callable[[Tensor, Tensor], Floats]  # d(s, g) of features (n, D) and (n, D) -> (n,)


@dataclass(frozen=True)
class Stage:
    """A held-out episode of T frames that shows stage `own`: its task and scene, features (T, D), actions and the
    script's for every stage, (T - 1, 7) and (T - 1, n, 7) in physical units, the gripper's opening (T - 1,), and by
    other open stage the features of the goal that shows it done in this one's place, (D,)."""

    scene: tuple[str, int]
    own: int
    features: Tensor
    actions: Floats
    of_stages: Floats
    opening: Floats
    swapped: dict[int, Tensor]
    disturbed: bool = False

    def asked(self, chunk: int) -> list[int]:
        """The frames at which the choice is asked for."""
        begins = range(len(self.actions) - chunk + 1)
        return [t for t in begins if self.opening[t] >= _FREE and self.actions[t, 6] >= _OPEN]


def stage_of(raw: Path, store: EpisodeStore, episode: int, features: Tensor, world: World, encode: Encode) -> Stage:
    """Episode number `episode` of a store that was made of the tree at `raw`; `features` (N, D) are all of it."""
    folder = raw / store.names[episode]
    told, outcome = load_pickle(folder / "policy_out.pkl"), json.loads((folder / "outcome.json").read_text())
    assert isinstance(told, list)
    before, after = outcome["stages_before"], outcome["stages_after"]
    own = next(stage for stage in range(len(before)) if before[stage] != after[stage])
    done, left = np.flatnonzero(before), [stage for stage in np.flatnonzero(np.logical_not(before)) if stage != own]
    task, seed = outcome["task"], outcome["seed"]
    swapped: dict[int, Tensor] = {}
    for other in left if task.startswith("place") else []:
        scene = make_task(task, world, seed, stage=own, done=[int(stage) for stage in done])
        assert isinstance(scene, PlaceTask)
        world.arm.reset(solve_joints(world, HOME_STATE), 1.0)
        scene.put_on_target(other)
        scene.settle()
        image = squash_resize(world.render(FRAME_WIDTH, FRAME_HEIGHT), store.image_size)
        swapped[int(other)] = encode(torch.from_numpy(image[None]))[0]
    frames = slice(store.episode_ends[episode - 1] if episode else 0, store.episode_ends[episode])
    return Stage(
        (task, seed), own, features[frames], store.actions[frames][:-1],
        np.array([step["stage_actions"] for step in told]), store.states[frames][:-1, 6], swapped,
        outcome["event"] == "disturbance",
    )  # fmt: skip


def neighbours(stages: list[Stage], recorded: Tensor, chunk: int) -> list[Ints]:
    """For each stage, (n, 32): for each frame that is asked, the rows of `recorded` (M, D) that are nearest."""
    squares, found = recorded.square().sum(1), []
    for stage in stages:
        here = stage.features[stage.asked(chunk)]
        near = (squares - 2 * here @ recorded.T).topk(NEIGHBOURS, largest=False).indices
        found.append(near.numpy())
    return found


def judge(ask: Ask, chunk: int, stage: Stage, candidates: Floats) -> dict[str, list[float]]:
    """What comes of one episode, by column of ALL; `candidates` (n, 32, h, 7) of the frames that are asked."""
    found: dict[str, list[float]] = {name: [] for name in ALL}
    goal = stage.features[-1]

    def add(name: str, t: int, value: float) -> None:
        found[name].append(value)
        if t < _START and not stage.disturbed and name in AT_START:
            found[name + "*"].append(value)

    for t in range(len(stage.actions) - chunk + 1):
        own = stage.actions[t : t + chunk]
        flipped = own.copy()
        flipped[:, 6] = 1.0 - flipped[:, 6]
        found["gripper"].append(_nearer(*ask(stage.features[t], np.stack([own, flipped]), goal)))
    for t, near in zip(stage.asked(chunk), candidates):
        here, script = stage.features[t], stage.of_stages[t, stage.own]
        for other in range(stage.of_stages.shape[1]):
            away = stage.of_stages[t, other]
            apart = np.linalg.norm(away[:3] - script[:3]) > _APART_M  # not where NaN
            if other == stage.own or not apart or not np.isfinite(script).all():
                continue
            ways = np.repeat(np.stack([script, away])[:, None], chunk, axis=1)
            asks = {"object": goal} | ({"swapped": stage.swapped[other]} if other in stage.swapped else {})
            for name, shown in asks.items():
                right, wrong = ask(here, ways if name == "object" else ways[::-1], shown)
                add(name, t, _nearer(right, wrong))
        motion, wanted = near[..., :3].mean(axis=1), stage.actions[t : t + chunk, :3].mean(axis=0)
        error_mm = 1000 * np.linalg.norm(motion - wanted, axis=1)
        medoid = np.linalg.norm(motion[:, None] - motion[None], axis=2).sum(axis=1).argmin()
        add("chosen", t, float(error_mm[ask(here, near, goal).argmin()]))
        add("random", t, float(error_mm.mean()))
        add("medoid", t, float(error_mm[medoid]))
        add("mean", t, float(1000 * np.linalg.norm(motion.mean(axis=0) - wanted)))
        add("best", t, float(error_mm.min()))
    return found


def _nearer(own: float, other: float) -> float:
    return float(own < other) + 0.5 * float(own == other)


def reach(distance: Distance, scenes: dict[tuple[str, int], list[Tensor]]) -> dict[tuple[str, int], dict[str, float]]:
    """By scene, the columns of REACH. `scenes` are the episodes of each in their order, (T, D); other goals are those
    of other scenes of the same task."""
    ends = {scene: torch.stack([episode[-1] for episode in episodes]) for scene, episodes in scenes.items()}
    own: dict[tuple[str, int], list[Floats]] = {}
    other: dict[str, list[Floats]] = {}
    found: dict[tuple[str, int], dict[str, float]] = {}
    for number, (scene, episodes) in enumerate(scenes.items()):
        strangers = torch.cat([ends[one] for one in scenes if one[0] == scene[0] and one != scene])
        rng, ranks = np.random.default_rng(number), []
        for index, episode in enumerate(episodes):
            frames = episode[:-1]
            to_end = distance(frames, episode[-1].expand_as(frames))
            ranks.append(rank_correlation(to_end, np.arange(len(frames), 0, -1)))
            frames = episode[:-_FAR_STEPS]
            for goal in ends[scene][index:]:
                own.setdefault(scene, []).append(distance(frames, goal.expand_as(frames)))
            for goal in strangers[rng.permutation(len(strangers))[:_OTHER_GOALS]]:
                other.setdefault(scene[0], []).append(distance(frames, goal.expand_as(frames)))
        way = torch.cat(episodes)[:-1]
        to_end = distance(way, ends[scene][-1].expand_as(way))
        chain = rank_correlation(to_end, np.arange(len(way), 0, -1))
        found[scene] = {"rank": float(np.mean(ranks)), "chain": chain}
    for scene, distances in own.items():
        found[scene]["roc"] = roc_area(np.concatenate(distances), np.concatenate(other[scene[0]]))
    return found


def open_world() -> World:
    """The world in which goals are rendered."""
    return World(load_robot_spec())
