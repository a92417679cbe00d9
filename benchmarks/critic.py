"""Time and peak memory of MQE's critic loss, forward plus backward, against the straightforward broadcast form.

    python benchmarks/critic.py [--batch 256] [--latent 512] [--components 8] [--ensemble 2] [--threads 0] [--json]

The broadcast form subtracts every goal from every row in one (E, B, B, D) tensor and lets autograd do the rest. Each form runs in a
process of its own, so that peak memory is its own; the two take turns, so that a busy machine slows both. Times are medians over the
rounds of each round's best; CPU time is what the threads used. Loss and gradients of both forms are compared first.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from statistics import median

import torch
from torch import Tensor

from mqe_core.learning.agents import mqe
from mqe_core.learning.quasimetric import mrn_distance


def broadcast_distance_matrix(x: Tensor, y: Tensor, components: int) -> Tensor:
    """``(E, B, D), (E, C, D) -> (E, B, C)`` through an (E, B, C, D) tensor."""
    return mrn_distance(x[:, :, None], y[:, None], components)


def make_inputs(args: argparse.Namespace) -> tuple[list[Tensor], Tensor]:
    """phi_sa, psi_s, psi_waypoint, psi_goal ``(E, B, D)`` and the waypoint steps ``(B,)``, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    shape = (args.ensemble, args.batch, args.latent)
    representations = [torch.randn(shape, generator=generator).requires_grad_() for _ in range(4)]
    return representations, torch.randint(1, 40, (args.batch,), generator=generator).float()


def update(args: argparse.Namespace, representations: list[Tensor], steps: Tensor) -> Tensor:
    """One critic loss with its backward pass."""
    loss, _ = mqe.critic_loss(
        *representations, steps, components=args.components, discount=0.995, linex_clip=5.0, diagonal_weight=0.5
    )
    for tensor in representations:
        tensor.grad = None
    loss.backward()
    return loss.detach()


def measure(args: argparse.Namespace) -> dict:
    """Seconds per update and the growth of this process's peak memory in MB, for ``args.form``."""
    if args.form == "broadcast":
        mqe.mrn_distance_matrix = broadcast_distance_matrix
    representations, steps = make_inputs(args)
    # Load the libraries and start the threads before memory is read.
    small = [tensor[:, :4].detach().requires_grad_() for tensor in representations]
    update(args, small, steps[:4])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    update(args, representations, steps)
    seconds, cpu_seconds = [], []
    for _ in range(args.repeats):
        start, cpu_start = time.monotonic(), time.process_time()
        loss = update(args, representations, steps)
        seconds.append(time.monotonic() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    gradients = [0.0 if tensor.grad is None else tensor.grad.double().norm().item() for tensor in representations]
    return {
        "wall_s": min(seconds), "cpu_s": min(cpu_seconds), "peak_mb": peak / 1024, "loss": loss.item(), "gradients": gradients,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--latent", type=int, default=512)
    parser.add_argument("--components", type=int, default=8)
    parser.add_argument("--ensemble", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="per round")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's choice")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--form", choices=("broadcast", "fast"), help=argparse.SUPPRESS
    )  # measures one form, in this process
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.form:
        sys.stdout.write(json.dumps(measure(args)))
        return

    rounds: dict[str, list[dict]] = {"broadcast": [], "fast": []}
    for _ in range(args.rounds):
        for form, measured in rounds.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--form", form]
            measured.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    results = {
        form: {
            **measured[0],
            **{name: median(result[name] for result in measured) for name in ("wall_s", "cpu_s", "peak_mb")},
        }
        for form, measured in rounds.items()
    }
    slow, fast = results["broadcast"], results["fast"]
    if not math.isclose(slow["loss"], fast["loss"], rel_tol=1e-5):
        raise RuntimeError(f"the two forms disagree: loss {slow['loss']} and {fast['loss']}")
    for a, b in zip(slow["gradients"], fast["gradients"]):
        if not math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-9):
            raise RuntimeError(f"the two forms disagree: gradient norms {slow['gradients']} and {fast['gradients']}")
    speedup = slow["wall_s"] / fast["wall_s"]
    if args.json:
        sys.stdout.write(json.dumps({**results, "speedup": speedup, "threads": torch.get_num_threads()}) + "\n")
        return
    print(f"critic_loss forward + backward, E={args.ensemble} B={args.batch} D={args.latent} K={args.components}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print(f"{'form':<12}{'wall':>12}{'CPU':>12}{'peak memory':>14}")
    for form, result in results.items():
        print(
            f"{form:<12}{1e3 * result['wall_s']:>9.1f} ms{1e3 * result['cpu_s']:>9.1f} ms{result['peak_mb']:>11.0f} MB"
        )
    print(f"{speedup:.1f} times faster, {slow['peak_mb'] / fast['peak_mb']:.0f} times less memory")


if __name__ == "__main__":
    main()
