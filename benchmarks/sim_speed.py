"""Speed of the sim against real time: python benchmarks/sim_speed.py

Demonstrations with and without rendering at several sizes, in one process on one core; then at the collector's size in
several processes. Reset, script and inverse kinematics are included. So the share of rendering is that of a whole
collection, but for the writing of its files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time

import numpy as np

from mqe_core.robot.spec import load_robot_spec
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.demonstration import UnreachableError, run_oracle
from mqe_sim.world import World

SIZES = (None, (64, 64), (FRAME_WIDTH, FRAME_HEIGHT), (128, 128), (256, 256), (640, 480))
_ENOUGH_S = 20.0  # per row; the largest pictures take longer than anybody wants to wait


def rate(world: World, task: str, episodes: int, size: tuple[int, int] | None) -> float:
    """Median over episodes of control steps per second. Steps before the record begins count as well, though they are
    not rendered.
    """
    rates, begin = [], time.perf_counter()
    for seed in range(episodes):
        start = time.perf_counter()
        try:
            record = run_oracle(world, task, seed, size)
        except UnreachableError:  # a collection tries again with other noise
            continue
        steps = record.time_stamp[-1] / world.spec.control.period_s
        rates.append(steps / (time.perf_counter() - start))
        if time.perf_counter() - begin > _ENOUGH_S:
            break
    return float(np.median(rates))


def work(job: tuple[str, int]) -> int:
    """Control steps of one worker's demonstrations."""
    task, episodes = job
    world = World(load_robot_spec())
    period = world.spec.control.period_s
    return sum(
        round(run_oracle(world, task, seed, (FRAME_WIDTH, FRAME_HEIGHT)).time_stamp[-1] / period)
        for seed in range(episodes)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10, help="per row (default: %(default)s)")
    parser.add_argument(
        "--tasks", nargs="+", default=["place1", "place4", "drawer_place"], help="(default: %(default)s)"
    )
    args = parser.parse_args()
    spec = load_robot_spec()
    world = World(spec)
    run_oracle(world, "place1", 0)  # warm up
    print("| task | frames | control steps/s per core | times real time | share of rendering |\n|---|---|---|---|---|")
    for task in args.tasks:
        bare = rate(world, task, args.episodes, None)
        for size in SIZES:
            speed = bare if size is None else rate(world, task, args.episodes, size)
            name = "none" if size is None else f"{size[0]}×{size[1]}"
            print(
                f"| {task} | {name} | {speed:.0f} | {speed * spec.control.period_s:.1f} | {1 - speed / bare:.0%} |",
                flush=True,
            )
    print(
        f"\n| {args.tasks[0]} at {FRAME_WIDTH}×{FRAME_HEIGHT}, workers | control steps/s in all | against one "
        "|\n|---|---|---|"
    )
    single = None
    for workers in (1, 2, 4):
        if workers > 2 * (os.cpu_count() or 1):
            break
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            pool.map(work, [(args.tasks[0], 1)] * workers, chunksize=1)  # start-up is not measured
            start = time.perf_counter()
            steps = sum(pool.map(work, [(args.tasks[0], args.episodes)] * workers, chunksize=1))
            total = steps / (time.perf_counter() - start)
        single = single or total
        print(f"| {workers} | {total:.0f} | {total / single:.2f} |", flush=True)


if __name__ == "__main__":
    main()
