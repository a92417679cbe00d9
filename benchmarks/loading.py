"""Whether training waits for images: python benchmarks/loading.py

Batches of MQE (four images a row) from a made store of 128-pixel JPEGs, decoded at each use. The update is replaced by
a wait of a GPU's length. `limit` is what all cores decode when they do nothing else, in processes of their own, from
memory; `in turn` decodes in threads of the training process when a batch is needed (`image_workers=0`, as before there
were workers); `ahead` decodes in one process per core meanwhile. The three take turns; medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mqe_core import images
from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.rows.batches import Batches
from mqe_core.learning.rows.pixels import AHEAD
from mqe_core.learning.rows.training_data import TrainingData
from mqe_core.learning.run.run_config import make_config

SIZE, FRAMES = 128, 38
NAMES = AGENTS["mqe"][0].frames


def write_store(path: Path, episodes: int) -> EpisodeStore:
    """Smooth blocks with camera noise, JPEG of quality 95: about 8 kB a frame."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, image_size=SIZE) as writer:
        for number in range(episodes):
            blocks = images.squash_resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), SIZE)
            frames = [
                np.clip(np.roll(blocks, 3 * t, axis=1) + rng.normal(0, 3, blocks.shape), 0, 255).astype(np.uint8)
                for t in range(FRAMES)
            ]
            encoded = [images.encode_jpeg(frame) for frame in frames]
            states, actions = rng.normal(0, 0.1, (FRAMES, 7)), rng.normal(0, 0.01, (FRAMES - 1, 7))
            writer.add(Episode(f"episode{number}", states, actions, {0: encoded}))
    return EpisodeStore.open(path)


def decode_for(path: Path, seconds: float) -> None:
    """One of the processes of `limit`: prints how many images a second it decoded."""
    store = EpisodeStore.open(path)
    encoded = [frame for number in range(10) for frame in store.encoded_episode(number).images[0]]
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        images.decode(encoded[count % len(encoded)])
        count += 1
    print(count / (time.perf_counter() - start))


def limit(path: Path, seconds: float, cores: int) -> float:
    """Images a second that all cores decode."""
    command = [sys.executable, __file__, "--decode-for", str(seconds), str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(cores)]
    return sum(float(process.communicate()[0]) for process in processes)


class Loading:
    """Batches with a wait after each, by so many workers."""

    def __init__(self, store: EpisodeStore, workers: int, augmentation: str) -> None:
        config = make_config(
            {"image_memory_mb": 0.0, "image_workers": workers, "augment_kind": augmentation, "device": "cpu"}
        )
        self._data = TrainingData(store, config, torch.device("cpu"), progress=False)
        self._batches = Batches(self._data, np.random.default_rng(0), NAMES)
        self._images = config.train.batch_size * len(NAMES)
        self.rate(1, 0.0)  # the processes start

    def rate(self, batches: int, wait_s: float) -> float:
        """Images a second, waits included; what was decoded ahead during another measurement is taken before."""
        for _ in range(AHEAD + 1):
            self._batches.take()
        start = time.perf_counter()
        for _ in range(batches):
            self._batches.take()
            time.sleep(wait_s)
        return batches * self._images / (time.perf_counter() - start)

    def close(self) -> None:
        self._data.observations.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=200, help="of the made store (default: %(default)s)")
    parser.add_argument("--wait-ms", type=float, default=60.0, help="of an update (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=20, help="of a measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of all three (default: %(default)s)")
    parser.add_argument("--augment", choices=("shift", "bridge"), default="shift", help="shift is off (default)")
    parser.add_argument("--decode-for", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.decode_for:
        decode_for(Path(args.decode_for[1]), float(args.decode_for[0]))
        return
    cores, wait_s = len(os.sched_getaffinity(0)), args.wait_ms / 1000
    with tempfile.TemporaryDirectory() as scratch:
        store = write_store(Path(scratch) / "store", args.episodes)
        forms = {"in turn": Loading(store, 0, args.augment), "ahead": Loading(store, cores, args.augment)}
        rates: dict[str, list[float]] = {"limit": [], **{name: [] for name in forms}}
        for _ in range(args.rounds):
            rates["limit"].append(limit(store.path, 5.0, cores))
            for name, form in forms.items():
                rates[name].append(form.rate(args.batches, wait_s))
        for form in forms.values():
            form.close()
    print(
        f"{cores} cores, load {os.getloadavg()[0]:.1f}; a wait of {args.wait_ms:.0f} ms; augmentation {args.augment}\n"
    )
    print("| form | images/s | updates/s | share of the limit, each round | median |\n" + "|---" * 5 + "|")
    for name, measured in rates.items():
        shares = [rate / most for rate, most in zip(measured, rates["limit"])]
        middle = float(np.median(measured))
        each = ", ".join(f"{share:.2f}" for share in shares)
        print(f"| {name} | {middle:,.0f} | {middle / 256 / len(NAMES):.1f} | {each} | {np.median(shares):.2f} |")


if __name__ == "__main__":
    main()
