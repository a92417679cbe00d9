"""How long `mqe data verify` takes where a camera's file has checksums of its blocks, and where it has none.

    python benchmarks/verify_store.py --gigabytes 1 --rounds 5

Makes a store of one camera in a temporary folder (random bytes for images: nothing is decoded), and verifies it with
and without the blocks in turn, from the page cache. Prints seconds, and the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from mqe_core.data.episode import EncodedEpisode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter

FRAMES, FRAME_BYTES = 40, 30_000  # of an episode; as PNG of 128 pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        make(path, round(args.gigabytes * 1e9 / (FRAMES * FRAME_BYTES)))
        with_blocks = (path / "metadata.json").read_text()
        without = json.loads(with_blocks)
        for entry in without["files"].values():
            entry.pop("blocks", None)
        forms = {"blocks": with_blocks, "one sha256 a file": json.dumps(without)}
        taken: dict[str, list[tuple[float, float]]] = {form: [] for form in forms}
        for _ in range(args.rounds):
            for form, metadata in forms.items():
                (path / "metadata.json").write_text(metadata)
                store = EpisodeStore.open(path)
                begin, begin_cpu = time.perf_counter(), time.process_time()
                found = store.verify()
                taken[form].append((time.perf_counter() - begin, time.process_time() - begin_cpu))
        cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        print(f"{found.num_bytes / 1e9:.2f} GB, {cores} cores, load {load:.1f}")
        print("| form | seconds, each round | median | of the processor |\n|---|---|---|---|")
        for form, rounds in taken.items():
            wall, cpu = zip(*rounds)
            each = ", ".join(f"{seconds:.2f}" for seconds in wall)
            print(f"| {form} | {each} | {statistics.median(wall):.2f} | {statistics.median(cpu):.2f} |")


def make(path: Path, episodes: int) -> None:
    """A store of one camera."""
    rng = np.random.default_rng(0)
    states = np.zeros((FRAMES, 7), np.float32)
    with EpisodeWriter(path, image_size=128) as writer:
        for number in range(episodes):
            images = [rng.bytes(FRAME_BYTES) for _ in range(FRAMES)]
            writer.add(EncodedEpisode(f"episode {number}", states, states[1:], {0: images}, (), enlarged=False))


if __name__ == "__main__":
    main()
