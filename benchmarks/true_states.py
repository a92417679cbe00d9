"""Demonstrations with the true places of all things in place of pictures, for benchmarks/closed_loop_states.py:

    python -m benchmarks.true_states --task place2 --scenes 400 --out FOLDER [--seed 300000] [--workers 2]

Each scene is worked through stage by stage in an order of its own, one episode each, as by `mqe sim collect --stage
--shuffle-stages`. A state is the Bridge state (7,) followed by where the things are (m). A scene is a file, so a
collection that was stopped goes on.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
from pathlib import Path

import numpy as np

from mqe_core.data.names import scene_of
from mqe_core.files.progress import Progress
from mqe_core.robot.arrays import Bools, Float32s, Floats, Images, Ints
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.demonstration import Demonstration, UnreachableError, run_oracle
from mqe_sim.tasks import STAGES, shuffled_stages
from mqe_sim.world import World

_ATTEMPTS = 8  # at an episode that shows exactly its stage
_MIDDLE_X_M, _SHIFT_M = 0.285, 0.03  # about which copies are mirrored, and how far they are shifted, uniform ±
# What changes its sign where x or y is mirrored, of (x, y, z, roll, pitch, yaw, gripper) and of motions alike.
_MIRRORED = np.array([[-1, 1, 1, 1, -1, -1, 1], [1, -1, 1, -1, 1, -1, 1]], float)
_AWAY_M = 0.03
TASKS = ("drawer_place", "place1", "place2", "place3", "place4")  # a reach or a drawer alone has no such things
_ARRAYS = ("states", "actions", "stage_actions", "lengths", "names")


class TrueStates:
    """What learning calls `Frames`: N frames of E episodes. `stage_actions` (N, stages, 7) are what the script would
    have done for each stage alone, NaN for those that were not open.

    With several `copies` each scene is there so often, all but the first mirrored along x, y or both by chance (with a
    drawer along x alone) and shifted in the plane, hand and all. The script does not care where on the table it works,
    nor on which hand's side.
    """

    num_cameras, image_size = 0, 0
    cameras: tuple[int, ...] = ()

    def __init__(self, path: Path, copies: int = 1) -> None:
        files = [np.load(file, allow_pickle=False) for file in sorted(path.glob("*.npz"))]
        if not files:
            raise ValueError(f"{path} holds no scenes: write them with python -m benchmarks.true_states")
        arrays = {name: np.concatenate([file[name] for file in files]) for name in _ARRAYS}
        self.task = str(files[0]["task"])
        self.path, self.metadata = path, {"kind": "true states", "task": self.task}
        names, lengths = [str(name) for name in arrays["names"]], arrays["lengths"]
        scenes = [scene_of(name) for name in names]
        parts = [(arrays["states"].astype(np.float64), arrays["actions"], arrays["stage_actions"])]
        drawer = self.task == "drawer_place"
        for copy in range(1, copies):
            rng = np.random.default_rng(copy)
            changes = {
                scene: (rng.choice([-1, 1], 2), rng.uniform(-_SHIFT_M, _SHIFT_M, 2)) for scene in dict.fromkeys(scenes)
            }
            signs, shifts = (np.repeat([changes[scene][i] for scene in scenes], lengths, axis=0) for i in (0, 1))
            if drawer:
                signs[:, 1] = 1  # it opens one way
            parts.append(moved(*parts[0], signs, shifts))
        states, actions, stage_actions = (np.concatenate(arrays) for arrays in zip(*parts))
        self.states: Float32s = seen(states)
        self.width = states.shape[1]  # of a state, the first numbers of what is seen
        # Its first numbers, of hand and objects: targets lie where they are, but the drawer's bar moves.
        self.moving = self.width if drawer else 7 + (self.width - 7) // 2
        self.actions: Float32s = actions.astype(np.float32)
        self.stage_actions: Floats = stage_actions
        self.episode_ends: Ints = np.cumsum(np.tile(lengths, copies))
        self.names = [f"{copy}/{name}" for copy in range(copies) for name in names]
        self.valid: Bools = np.ones(len(self.states), bool)
        self.valid[self.episode_ends - 1] = False
        self.fingerprint = hashlib.sha256(self.states.tobytes() + self.actions.tobytes()).hexdigest()

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        """N."""
        return len(self.states)

    @property
    def scenes(self) -> int:
        """On how many tables the episodes were made."""
        return len({scene_of(name) for name in self.names})

    def has_image(self, camera: int = 0) -> Bools:
        """(N,): none."""
        return np.zeros(self.num_frames, bool)

    def images(self, indices: Ints, camera: int = 0) -> Images:
        """There are none."""
        raise ValueError(f"{self.path} has no images")


def seen(states: Floats) -> Float32s:
    """States (..., 7 + 6 n) of n objects and their targets as agents see them, (..., 7 + 16 n).

    What an encoder without fault would tell stands behind: where all is from the hand, where each object is from its
    target, and a number that falls from 1 to 0 as it leaves it in the plane. With a drawer its bar stands for the
    target.
    """
    things = states[..., 7:].reshape(*states.shape[:-1], 2, -1, 3)
    from_hand, from_target = things - states[..., None, None, :3], things[..., 0, :, :] - things[..., 1, :, :]
    there = np.exp(-np.square(from_target[..., :2] / _AWAY_M).sum(axis=-1))
    flat = [array.reshape(*states.shape[:-1], -1) for array in (from_hand, from_target, there)]
    return np.concatenate([states, *flat], axis=-1).astype(np.float32)


def moved(
    states: Floats, actions: Floats, stage_actions: Floats, signs: Ints, shifts_m: Floats
) -> tuple[Floats, Floats, Floats]:
    """States (N, 7 + 3 n), actions (N, 7) and (N, stages, 7) with x and y mirrored where `signs` (N, 2) are -1, and
    shifted by (N, 2)."""
    factor = np.where(signs[:, :1] < 0, _MIRRORED[0], 1.0) * np.where(signs[:, 1:] < 0, _MIRRORED[1], 1.0)
    offset = np.zeros((len(states), 3))
    offset[:, :2] = shifts_m
    offset[:, 0] += np.where(signs[:, 0] < 0, 2 * _MIDDLE_X_M, 0.0)
    hands = states[:, :7] * factor
    hands[:, :3] += offset
    things = states[:, 7:].reshape(len(states), -1, 3) * factor[:, None, :3] + offset[:, None]
    return np.hstack([hands, things.reshape(len(states), -1)]), actions * factor, stage_actions * factor[:, None]


def demonstrations(task: str, seed: int) -> list[tuple[str, Demonstration]]:
    """The episodes of one scene with their names, one for each stage that could be shown."""
    order, found = shuffled_stages(task, seed), []
    for number, stage in enumerate(order):
        for attempt in range(_ATTEMPTS):
            try:
                one = run_oracle(_world(), task, seed, None, stage=stage, done=order[:number], attempt=attempt)
            except UnreachableError:
                continue
            if one.outcome.shows_one_stage:
                found.append((f"{task}/{seed}/raw/{number}", one))
                break
    return found


def collect(folder: Path, task: str, seed: int) -> int:
    """Write the scene `seed`, where it is not there; returns the number of its episodes that are new."""
    file = folder / f"{seed:07d}.npz"
    if file.exists():
        return 0
    found = demonstrations(task, seed)
    if found:
        write(file, task, found)
    return len(found)


def write(path: Path, task: str, found: list[tuple[str, Demonstration]]) -> None:
    """One file of all of these episodes of `task`."""
    episodes = [one for _, one in found]
    unused = np.full((1, STAGES[task], 7), np.nan)  # of the last frame, which has no action
    partial = path.with_suffix(".partial")
    arrays = dict(
        states=np.concatenate([np.hstack([one.full_state, one.things]) for one in episodes]).astype(np.float32),
        actions=np.concatenate([np.vstack([one.actions, np.zeros(7)]) for one in episodes]).astype(np.float32),
        stage_actions=np.concatenate([np.concatenate([one.stage_actions, unused]) for one in episodes]),
        lengths=np.array([len(one.full_state) for one in episodes]),
        names=np.array([name for name, _ in found]),
        task=np.array(task),
    )
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.rename(path)


@functools.cache
def _world() -> World:
    """Once per process."""
    return World(load_robot_spec())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="place2", choices=TASKS, help="(default: %(default)s)")
    parser.add_argument("--scenes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=300_000, help="the first scene (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.scenes)
    assert seeds.stop <= FIRST_EVALUATION_SEED, "the scenes from there on are for evaluation"
    args.out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        collected = pool.imap(functools.partial(collect, args.out, args.task), seeds)
        new = sum(Progress(collected, total=args.scenes))
    data = TrueStates(args.out)
    episodes = f"{data.num_episodes} episodes, {new} of them new"
    print(f"{args.out}: {data.scenes} scenes, {episodes}, {int(data.valid.sum())} actions")


if __name__ == "__main__":
    main()
