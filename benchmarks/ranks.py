"""How much faster two processes train than one: torchrun --standalone --nproc-per-node 2 benchmarks/ranks.py

MQE from made images, each process with one thread. Rounds of updates by all ranks and by rank 0 alone, while the others
wait, take turns; medians. Seconds of the processor are those of one process: on a machine that is busy with other
things they tell more than those of the clock. What a rank sends in an update stands beside them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mqe_core.data.episode import Episode
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.learning.ranks.ranks import ALONE, Ranks, joined_ranks
from mqe_core.learning.run.run_config import make_config
from mqe_core.learning.run.trainer import Trainer

FRAMES = 20


def write_store(path: Path, size: int) -> EpisodeStore:
    """Noise: an update does not depend on what is seen."""
    rng = np.random.default_rng(0)
    with EpisodeWriter(path, image_size=size) as writer:
        for number in range(8):
            frames = [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(FRAMES)]
            states, actions = rng.normal(0, 0.1, (FRAMES, 7)), rng.normal(0, 0.01, (FRAMES - 1, 7))
            writer.add(Episode(f"episode{number}", states, actions, {0: frames}))
    return EpisodeStore.open(path)


def timed(trainer: Trainer, updates: int) -> tuple[float, float]:
    """Seconds of the clock and of this process for an update."""
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(updates):
        trainer.update()
    return (time.perf_counter() - clock) / updates, (time.process_time() - processor) / updates


def main() -> None:
    """One table, by rank 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="impala_small")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--updates", type=int, default=3, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keys = {"encoder": args.encoder, "batch_size": args.batch_size, "device": "cpu", "threads": 1}
    with tempfile.TemporaryDirectory() as folder, joined_ranks() as ranks:
        store = write_store(Path(folder) / "store", args.image_size)
        together = Trainer(store, make_config(keys), progress=False, ranks=ranks)
        alone = Trainer(store, make_config(keys), progress=False, ranks=ALONE)
        rounds = []
        for number in range(args.rounds + 1):
            ranks.wait_for_all()
            both = timed(together, args.updates)
            ranks.wait_for_all()
            one = timed(alone, args.updates) if ranks.first else both
            if number:  # the first one warms up
                rounds.append((*one, *both))
        if ranks.first:
            show(rounds, together, args, ranks)


def show(rounds: list[tuple[float, ...]], trainer: Trainer, args: argparse.Namespace, ranks: Ranks) -> None:
    """Medians over the rounds."""
    one, one_processor, both, both_processor = np.median(rounds, axis=0)
    weights = sum(parameter.numel() for parameter in trainer.agent.parameters() if parameter.requires_grad)
    print(f"{args.encoder}, {args.image_size} px, batch of {args.batch_size}, {ranks.world} ranks")
    print(f"an update of one process  {one:.2f} s, {one_processor:.2f} s of the processor")
    print(f"an update of the ranks    {both:.2f} s, {both_processor:.2f} s of the processor of each")
    print(f"that is                   {one / both:.2f} and {one_processor / both_processor:.2f} times as fast")
    print(f"gradients of an update    {4 * weights / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
