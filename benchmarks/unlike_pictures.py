"""Does the bundle's warning tell a moved camera, or other colours? python benchmarks/unlike_pictures.py --store STORE

Half of the store's scenes stand for the training data. The threshold is taken from the other half as `mqe export` does,
but at the largest of them, where they are too few for its bound. Then new scenes of the sim are rendered at their
beginning: as they are, with the camera moved in 12 random directions, and with every thing's colour shifted by up to a
quarter (`colours` of the sim's randomisation). Prints the share of pictures that would give a warning.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.images import squash_resize
from mqe_core.learning.export.familiar_pictures import calibrate_familiarity, range_of
from mqe_core.learning.rows.scenes import scene_ends
from mqe_core.policy.familiarity import Familiarity
from mqe_core.robot.spec import RobotSpec, load_robot_spec
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.tasks import make_task
from mqe_sim.world import World

_FIRST_SCENE = 720_000
_DIRECTIONS = 12
_SCENES = 4  # of each direction


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="an EpisodeStore of the sim, made without --randomise camera")
    parser.add_argument("--task", default="place2", help="what is rendered (default: %(default)s)")
    args = parser.parse_args()
    store = EpisodeStore.open(args.store)
    scene = np.searchsorted(scene_ends(store), store.episode_ends, side="left")
    trained, held_out = (np.flatnonzero((scene < scene[-1] / 2) == first) for first in (True, False))
    result = calibrate_familiarity(store, trained, store, held_out, store.cameras[0])
    known = result.familiarity
    if known is None:
        darkest, lightest = range_of(store, trained, store.cameras[0])
        known = Familiarity(darkest, lightest, result.metrics["familiar/outside_most"])
    for name, value in result.metrics.items():
        print(f"{name:24} {value:.4g}")
    print(f"threshold                {known.most_outside:.4g}")
    spec, size = load_robot_spec(), store.image_size
    show(known, "as it is", pictures(spec, args.task, size, _DIRECTIONS * _SCENES))
    for moved_m in (0.02, 0.05, 0.10):
        moved = [
            picture
            for direction in range(_DIRECTIONS)
            for picture in pictures(shifted(spec, moved_m, direction), args.task, size, _SCENES, 8 * direction)
        ]
        show(known, f"camera moved {100 * moved_m:.0f} cm", moved)
    show(known, "other colours", pictures(spec, args.task, size, _DIRECTIONS * _SCENES, randomise=("colours",)))


def shifted(spec: RobotSpec, moved_m: float, seed: int) -> RobotSpec:
    """The robot with its camera so far off, in a random direction."""
    direction = np.random.default_rng(seed).normal(size=3)
    position_m = spec.camera.position_m + moved_m * direction / np.linalg.norm(direction)
    return replace(spec, camera=replace(spec.camera, position_m=position_m))


def pictures(
    spec: RobotSpec, task: str, size: int, count: int, first: int = 0, randomise: tuple[str, ...] = ()
) -> list[np.ndarray]:
    """(size, size, 3) uint8 each: the beginnings of `count` scenes."""
    world, found = World(spec), []
    for number in range(count):
        make_task(task, world, _FIRST_SCENE + first + number, randomise=randomise)
        found.append(squash_resize(world.render(FRAME_WIDTH, FRAME_HEIGHT), size))
    world.close()
    return found


def show(known: Familiarity, what: str, found: list[np.ndarray]) -> None:
    outside = np.array([known.outside(picture) for picture in found])
    told = int((outside > known.most_outside).sum())
    print(f"{what:24} {told:3} of {len(found)} told, median {100 * np.median(outside):.2f} % outside")


if __name__ == "__main__":
    main()
