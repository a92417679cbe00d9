"""Speed of the sim against real time: python benchmarks/sim_speed.py

One process, one core: demonstrations of place1 with and without rendering, at several sizes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mqe_core.spec import load_robot_spec
from mqe_sim.collect import run_oracle
from mqe_sim.world import World


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10, help="per size (default: %(default)s)")
    episodes = parser.parse_args().episodes
    spec = load_robot_spec()
    world = World(spec)
    run_oracle(world, "place1", 0)  # warm up
    print("| frames | control steps/s per core | times real time | share of rendering |\n|---|---|---|---|")
    bare = None
    for size in (None, (64, 64), (128, 128), (128, 96), (256, 256), (640, 480)):
        rates = []
        for seed in range(episodes if size != (640, 480) else max(1, episodes // 5)):
            start = time.perf_counter()
            steps = len(run_oracle(world, "place1", seed, size)["actions"])
            rates.append(steps / (time.perf_counter() - start))
        rate = float(np.median(rates))
        bare = bare or rate
        name = "none" if size is None else f"{size[0]}×{size[1]}"
        print(f"| {name} | {rate:.0f} | {rate * spec.control.period_s:.1f} | {1 - rate / bare:.0%} |")


if __name__ == "__main__":
    main()
