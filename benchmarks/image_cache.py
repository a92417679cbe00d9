"""Frames a second from a cold disk, with a part of the encoded images in memory: python -m benchmarks.image_cache

A made store of 128-pixel JPEGs. Before each batch of 1,024 random frames the system is told to forget the store's files
(`posix_fadvise`), as one does whose memory other files need. `read` is from the disk or the cache, `decoded` is
`EpisodeStore.images`, in threads. The shares take turns; medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.loading import write_store
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.arrays import Ints

BATCH = 1024


def forget(path: Path) -> None:
    """The store's files leave the system's cache."""
    for file in path.glob("camera_*"):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(store: EpisodeStore, frames: Ints, decoded: bool) -> float:
    """For the frames, from a cold disk."""
    forget(store.path)
    file = store._parts[0].image_file(0)
    assert file is not None
    begin = time.perf_counter()
    if decoded:
        store.images(frames)
    else:
        file.read(frames)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=400, help="of the made store (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="of all shares (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured (default: a temporary one)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        path = write_store(Path(scratch) / "store", args.episodes).path
        os.sync()
        size = (path / "camera_0.bin").stat().st_size
        stores = {share: EpisodeStore.open(path) for share in (0.0, 0.25, 0.5, 0.75, 1.0)}
        for share, store in stores.items():
            if share:
                store.cache_encoded(0, round(share * size))
        taken: dict[tuple[float, bool], list[float]] = {(share, kind): [] for share in stores for kind in (False, True)}
        for _ in range(args.rounds):
            frames = rng.integers(0, stores[0.0].num_frames, BATCH)
            for (share, decoded), times in taken.items():
                times.append(BATCH / seconds(stores[share], frames, decoded))
    print(f"{size / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| in memory | read, frames/s | from–to | decoded, frames/s | from–to |\n" + "|---" * 5 + "|")
    for share in stores:
        columns = []
        for decoded in (False, True):
            rates = taken[share, decoded]
            columns += [f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}"]
        print(f"| {share:.0%} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
