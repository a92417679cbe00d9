"""A store of BridgeData V2's size, opened and read: python benchmarks/store_scale.py --before TREE

Makes a store of 60,000 episodes (38 frames each; the index is real, the pictures repeat) and one of 600,000 with tiny
pictures, and measures in fresh processes: opening, the memory that it takes, all names, 1,024 random frames cold (the
page cache was told to drop the file) and warm, and `verify`. `--before` is a checkout of an earlier version, which
makes and reads its own stores in the same run; the two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.episode import EncodedEpisode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter

FRAMES, SIZE, BATCH = 38, 64, 1024
COLUMNS = (  # of the table: which measurement, which of its numbers, unit, digits
    ("open", "seconds", " s", 2),
    ("open", "processor_s", " s", 2),
    ("open", "mb", " MB", 0),
    ("open", "names_s", " s", 2),
    ("cold", "rate", "", 0),
    ("warm", "rate", "", 0),
    ("verify", "seconds", " s", 1),
)


def make(path: Path, episodes: int, size: int) -> dict[str, float]:
    """`size` pixels a side; 0: pictures of 16 bytes, which nobody decodes."""
    rng = np.random.default_rng(0)
    if size:
        blocks = images.squash_resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), size)
        shown = [np.clip(np.roll(blocks, t, 1) + rng.normal(0, 3, blocks.shape), 0, 255) for t in range(FRAMES)]
        frames = [images.encode_jpeg(picture.astype(np.uint8)) for picture in shown]
    else:
        frames = [rng.bytes(16) for _ in range(FRAMES)]
    states = rng.normal(0, 0.1, (FRAMES, 7)).astype(np.float32)
    actions = rng.normal(0, 0.01, (FRAMES - 1, 7)).astype(np.float32)
    start = time.perf_counter()
    with EpisodeWriter(path, image_size=size or SIZE) as writer:
        for i in range(episodes):
            name = f"bridge_data_v2/scene{i // 100}/2023-01-01_00-00-00/raw/traj_group0/traj{i}"
            writer.add(EncodedEpisode(name, states, actions, {0: frames}, (f"put thing {i} there",), enlarged=False))
    return {"seconds": time.perf_counter() - start}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def drop_caches(path: Path) -> None:
    for file in path.iterdir():
        with open(file, "rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def task(what: str, path: Path) -> dict[str, float]:
    """One measurement, in this process."""
    if what == "cold":
        drop_caches(path)  # before anything maps it
    before, start, worked = resident_mb(), time.perf_counter(), time.process_time()
    store = EpisodeStore.open(path)
    opened = {"seconds": time.perf_counter() - start, "processor_s": time.process_time() - worked}
    opened["mb"] = resident_mb() - before
    if what == "open":
        start = time.perf_counter()
        assert len(store.names) == store.num_episodes
        return opened | {"names_s": time.perf_counter() - start}
    if what == "verify":
        start = time.perf_counter()
        store.verify()
        return {"seconds": time.perf_counter() - start}
    rates, rng = [], np.random.default_rng(time.time_ns())
    for _ in range(1 if what == "cold" else 5):
        frames = rng.integers(0, store.num_frames, BATCH)
        start = time.perf_counter()
        store.images(frames)
        rates.append(BATCH / (time.perf_counter() - start))
    return {"rate": float(np.median(rates))}


def run(tree: Path, *arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--task", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def middle(found: dict[str, list[dict[str, float]]], what: str, key: str, unit: str, digits: int) -> str:
    """A median as a cell of the table."""
    values = [one[key] for one in found.get(what, ())]
    return f"{np.median(values):,.{digits}f}{unit}" if values else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of an earlier version (default: none)")
    parser.add_argument("--scratch", type=Path, default=Path("store-scale"), help="folder on the disk to measure")
    parser.add_argument("--episodes", type=int, nargs=2, default=(60_000, 600_000), help="of the two stores")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        what, path, *numbers = args.task
        answer = make(Path(path), *map(int, numbers)) if what == "make" else task(what, Path(path))
        print(json.dumps(answer))
        return
    trees = {"here": Path(__file__).parents[1]} | ({"before": args.before} if args.before else {})
    args.scratch.mkdir(parents=True, exist_ok=True)
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    head = "episodes | version | store | open | processor time of it | memory at open | all names"
    head += " | cold frames/s | warm frames/s | verify"
    print(f"| {head} |\n{'|---' * 10}|", flush=True)
    for episodes, size in zip(args.episodes, (SIZE, 0)):
        paths = {name: args.scratch / f"{name}-{episodes}" for name in trees}
        for name, tree in trees.items():
            shutil.rmtree(paths[name], ignore_errors=True)
            run(tree, "make", paths[name], episodes, size)
        wanted = ["open"] * args.rounds + (["cold"] * args.rounds + ["warm", "verify"] if size else [])
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for what in wanted:
            for name, tree in trees.items():
                found.setdefault((name, what), []).append(run(tree, what, paths[name]))
        for name, path in paths.items():
            of_version = {what: answers for (version, what), answers in found.items() if version == name}
            size_gb = sum(file.stat().st_size for file in path.iterdir()) / 1e9
            cells = [f"{size_gb:.1f} GB", *(middle(of_version, *column) for column in COLUMNS)]
            print(f"| {episodes:,} | {name} | {' | '.join(cells)} |", flush=True)
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
