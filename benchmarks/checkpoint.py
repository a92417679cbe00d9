"""How long training stands still for a checkpoint: written in the loop, and beside it.

    python benchmarks/checkpoint.py [--encoder resnet34] [--image-size 128]

The state is that of MQE with Adam's two moments. `in the loop` is until the file is on the disk; `beside` is until the
copy is made, and how much longer an update of a small network takes while the thread writes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.checkpoint import save_checkpoint
from mqe_core.learning.run.checkpoint_writer import CheckpointWriter
from mqe_core.learning.run.run_config import make_config


def make_state(encoder: str, image_size: int) -> tuple[dict[str, Any], int]:
    """What a run of MQE would keep, and how many parameters it has."""
    config = make_config({"agent": "mqe", "encoder": encoder, "observation": "pixels"})
    agent = AGENTS["mqe"][0](config.agent, ObservationSpec("pixels", image_size=image_size), 7)
    moments = {
        number: {"step": torch.tensor(1.0), "exp_avg": torch.rand_like(p), "exp_avg_sq": torch.rand_like(p)}
        for number, p in enumerate(agent.parameters())
    }
    size = sum(parameter.numel() for parameter in agent.parameters())
    return {"step": 1, "agent": agent.state_dict(), "optimiser": {"state": moments}}, size


def update(weights: torch.Tensor) -> float:
    """Seconds of a product of matrices, which stands in for an update."""
    begin = time.perf_counter()
    for _ in range(5):
        weights @ weights
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    state, size = make_state(args.encoder, args.image_size)
    weights = torch.rand(512, 512)
    in_loop, beside, written, alone, meanwhile = ([] for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        path, writer = Path(folder) / "latest.pt", CheckpointWriter()
        for _ in range(args.rounds):
            begin = time.perf_counter()
            save_checkpoint(path, state)
            in_loop.append(time.perf_counter() - begin)
            alone += [update(weights) for _ in range(20)]
            begin = time.perf_counter()
            writer.write(path, state)
            beside.append(time.perf_counter() - begin)
            while writer.busy:
                meanwhile.append(update(weights))
            writer.wait()
            written.append(time.perf_counter() - begin)
        file_bytes = path.stat().st_size
    print(f"mqe, {args.encoder}, {size / 1e6:.1f} M parameters, a checkpoint of {file_bytes / 1e6:.0f} MB")
    print(f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores; {args.rounds} rounds")
    for name, values in (("in the loop", in_loop), ("beside it", beside), ("until written", written)):
        print(f"{name:15} median {np.median(values):.2f} s, {min(values):.2f} to {max(values):.2f} s")
    slower = np.median(meanwhile) / np.median(alone)
    print(f"an update meanwhile takes {slower:.2f} times as long (medians of {len(meanwhile)} and {len(alone)})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
