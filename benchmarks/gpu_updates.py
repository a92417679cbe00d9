"""What an update of MQE takes on a GPU, and whether it computes there what it should. Sized to eight minutes.

    python benchmarks/gpu_updates.py [--updates 2000] [--batch 256 1024] [--json]

It trains on random walks of 29 numbers with 8 actions, a million frames in the GPU's memory, as `mqe train` does. For
each batch size: updates as a CUDA graph and without; milliseconds, hours per million updates, memory. Before that:

repeatable   two runs of one seed end with the same weights, bit for bit
graph        with the graph the weights are those without it, bit for bit
processor    loss and gradients of the first batch are those of the CPU, largest difference over the largest entry
waits        torch warns of no synchronisation in an update (torch.cuda.set_sync_debug_mode)

`--device cpu` runs the same without a GPU, to try the script itself; then there is no graph, and nothing is a result.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from mqe_core.learning.run.run_config import make_config
from mqe_core.learning.run.trainer import Trainer

STATE_DIM, ACTION_DIM, EPISODE = 29, 8, 200


class RandomWalks:
    """States and actions in memory, in the form that training reads."""

    path, fingerprint, metadata = Path("random walks"), "", {}
    num_cameras, cameras, image_size = 0, (), 0

    def __init__(self, frames: int) -> None:
        rng = np.random.default_rng(0)
        self.num_frames = frames
        self.episode_ends = np.arange(EPISODE, frames + 1, EPISODE)
        self.num_episodes = len(self.episode_ends)
        self.names = [str(number) for number in range(self.num_episodes)]
        steps = rng.standard_normal((self.num_episodes, EPISODE, STATE_DIM), dtype=np.float32)
        self.states = steps.cumsum(1).reshape(frames, STATE_DIM)
        self.actions = rng.uniform(-1.0, 1.0, (frames, ACTION_DIM)).astype(np.float32)
        self.valid = np.ones(frames, dtype=bool)
        self.valid[self.episode_ends - 1] = False

    def has_image(self, camera: int = 0) -> np.ndarray:
        return np.zeros(self.num_frames, dtype=bool)


def make_trainer(walks: RandomWalks, device: str, batch: int, graph: bool) -> Trainer:
    keys = {"device": device, "batch_size": batch, "action_scale": "identity", "observation": "state", "seed": 1}
    trainer = Trainer(walks, make_config(keys), progress=False)
    if not graph:
        trainer._descend = trainer._descend_once
    return trainer


def weights_after(walks: RandomWalks, device: str, batch: int, graph: bool, updates: int) -> list[torch.Tensor]:
    trainer = make_trainer(walks, device, batch, graph)
    for _ in range(updates):
        trainer.update()
    trainer.check()
    return [parameter.detach().cpu() for parameter in trainer.agent.parameters()]


def difference_from_cpu(walks: RandomWalks, device: str, batch: int) -> float:
    gradients = []
    for where in ("cpu", device):
        trainer = make_trainer(walks, where, batch, graph=False)
        loss, _ = trainer.agent.loss(trainer.data.sample(trainer.rng, trainer.agent.frames))
        loss.backward()
        gradients.append([loss.detach().cpu(), *(p.grad.cpu() for p in trainer.agent.parameters())])
    return max(((a - b).abs().max() / a.abs().max().clamp(min=1e-12)).item() for a, b in zip(*gradients))


def waits(walks: RandomWalks, device: str, batch: int) -> list[str]:
    """What torch says of waiting in one update without a graph."""
    trainer = make_trainer(walks, device, batch, graph=False)
    trainer.update()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        trainer.update()
        torch.cuda.set_sync_debug_mode("default")
    return [str(warning.message).splitlines()[0] for warning in caught]


def milliseconds(walks: RandomWalks, device: str, batch: int, graph: bool, updates: int) -> dict[str, float]:
    trainer = make_trainer(walks, device, batch, graph)
    for _ in range(10):
        trainer.update()
    trainer.check()  # waits
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    for number in range(updates):
        trainer.update()
        if number % 100 == 99:
            trainer.check()
            trainer.means.take()
    trainer.check()
    each = (time.monotonic() - start) / updates
    memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return {"ms": 1e3 * each, "hours_per_million": each * 1e6 / 3600, "memory_mb": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch sees no GPU here")
    walks, on_gpu = RandomWalks(args.frames), args.device == "cuda"
    small = args.batch[0]
    first, again, plain = (weights_after(walks, args.device, small, graph, 20) for graph in (on_gpu, on_gpu, False))
    results: dict = {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "repeatable": all(torch.equal(a, b) for a, b in zip(first, again)),
        "graph": all(torch.equal(a, b) for a, b in zip(first, plain)),
        "processor": difference_from_cpu(walks, args.device, small),
        "waits": waits(walks, args.device, small) if on_gpu else [],
        "times": {},
    }
    for batch in args.batch:
        for graph in (False, True) if on_gpu else (False,):
            name = f"B {batch}, {'graph' if graph else 'no graph'}"
            results["times"][name] = milliseconds(walks, args.device, batch, graph, args.updates)
    if args.json:
        print(json.dumps(results))
        return
    for name in ("device", "torch", "repeatable", "graph", "processor", "waits"):
        print(f"{name}: {results[name]}")
    print("\n| updates | each | a million | memory |\n|---|---|---|---|")
    for name, took in results["times"].items():
        print(f"| {name} | {took['ms']:.2f} ms | {took['hours_per_million']:.2f} h | {took['memory_mb']:.0f} MB |")


if __name__ == "__main__":
    main()
