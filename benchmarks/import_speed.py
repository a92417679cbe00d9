"""Speed of import into an EpisodeStore against its bare limit: python benchmarks/import_speed.py

Writes raw BridgeData trees of made-up trajectories (45 frames of 256×256 JPEG, as in RLDS, and of 640×480, as the
robot's). The limit is a loop that decodes, resizes and encodes their frames in memory, and does nothing else: in one
process, and in as many at once as there are workers, since cores that share a cache or more are slower together. Beside
it stands the whole import: pickles, checks, checksums, journal, disk. Shares are of the limit with as many workers.

Times are of the processor, over all threads and processes, so that what else runs on the machine counts little. They
are those of the further episodes: what a few take is subtracted, and with it the start of the processes. Rounds take
turns, and the figures are medians.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data import loading
from mqe_core.data.importer import import_episodes, open_source

FRAMES = 45
FEW = 4  # episodes
SIZE = 128
SIZES = ((256, 256), (640, 480))


def write_tree(root: Path, episodes: int, width: int, height: int) -> None:
    """A raw tree of `episodes` trajectories whose frames show smooth blocks with camera noise."""
    rng = np.random.default_rng(0)
    blocks = images.squash_resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), max(width, height))[:height, :width]
    for i in range(episodes):
        folder = root / "2026-01-01_00-00-00" / "raw" / f"traj_group{i // 1000}" / f"traj{i}"
        (folder / "images0").mkdir(parents=True)
        for t in range(FRAMES):
            frame = np.roll(blocks, 3 * (i + t), axis=1)
            frame = np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)
            (folder / "images0" / f"im_{t}.jpg").write_bytes(images.encode_jpeg(frame))
        (folder / "obs_dict.pkl").write_bytes(pickle.dumps({"full_state": rng.normal(size=(FRAMES, 7))}))
        (folder / "policy_out.pkl").write_bytes(
            pickle.dumps([{"actions": action} for action in rng.normal(size=(FRAMES - 1, 7))])
        )


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process and those that it waited for."""

    def used() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    before = used()
    work()
    return used() - before


def bare(tree: Path, jpeg_quality: int | None) -> None:
    """Decode, resize and encode every frame, and nothing else."""
    for file in sorted(tree.rglob("*.jpg")):
        frame = images.squash_resize(images.decode(file.read_bytes()), SIZE)
        images.encode_png(frame) if jpeg_quality is None else images.encode_jpeg(frame, jpeg_quality)


def bare_at_once(tree: Path, jpeg_quality: int | None, workers: int) -> None:
    """`bare` in `workers` processes, each with the whole tree."""
    processes = [
        multiprocessing.get_context("fork").Process(target=bare, args=(tree, jpeg_quality)) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a process of the limit died"


def whole(tree: Path, out: Path, jpeg_quality: int | None, workers: int, processes: bool) -> None:
    """The import as `mqe data import` does it."""
    import_episodes(
        open_source(tree),
        out,
        image_size=SIZE,
        source_name="made up",
        workers=workers,
        processes=processes,
        jpeg_quality=jpeg_quality,
        trust_units=True,
        root=tree,
        overwrite=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=60, help="trajectories per tree (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--rounds", type=int, default=3, help="the figures are medians (default: %(default)s)")
    args = parser.parse_args()
    loading._WORTH_PROCESSES = loading._FEW_WORKERS = 0
    print(f"{args.episodes} episodes of {FRAMES} frames, {args.workers} workers, load {os.getloadavg()[0]:.1f}\n")
    print("| frames | stored as | limit, episodes/s a core | one thread | limit, all at once | threads | processes |")
    print("|---" * 7 + "|")
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            tree, few = Path(scratch) / "tree", Path(scratch) / "few"
            write_tree(tree, args.episodes, width, height)
            write_tree(few, FEW, width, height)
            for quality in (95, None):
                kinds = (1, False), (args.workers, False), (args.workers, True)
                limits: list[list[float]] = [[], []]
                rates: list[list[float]] = [[], [], []]
                for _ in range(args.rounds):
                    limits[0].append(args.episodes / cpu_seconds(partial(bare, tree, quality)))
                    at_once_s = cpu_seconds(partial(bare_at_once, tree, quality, args.workers))
                    limits[1].append(args.workers * args.episodes / at_once_s)
                    for kind, (workers, processes) in enumerate(kinds):
                        out = Path(scratch) / "store"
                        first_s = cpu_seconds(partial(whole, few, out, quality, workers, processes))
                        all_s = cpu_seconds(partial(whole, tree, out, quality, workers, processes))
                        rates[kind].append((args.episodes - FEW) / (all_s - first_s))
                alone, together = (float(np.median(of)) for of in limits)
                one, *several = (
                    f"{np.median(of):.1f} ({np.median(of) / limit:.0%})"
                    for of, limit in zip(rates, (alone, together, together))
                )
                name = "PNG" if quality is None else f"JPEG q{quality}"
                row = (f"{width}×{height}", name, f"{alone:.1f}", one, f"{together:.1f}", *several)
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
