"""How long one answer of a policy takes on this machine: a camera image in, resizing included, an action out.

    python benchmarks/policy_latency.py --policy policy.onnx [others.onnx ...]

Several policies are asked in turn, call by call, so that the machine's other work slows them alike; the last column is
the p99 over that of the first. A policy that chooses is told what it chose last.

The goal stays the same from call to call, as on the robot, so only the observation is resized. Calls follow
one another with a pause in between, because a core that was asleep is slower than one in a tight loop;
`--pause-s 0` measures the tight loop.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.runtime.onnx_policy import OnnxPolicy

SIZES = ((640, 480), (128, 96))  # a webcam's frame, the sim's frame; width × height


def measure(
    policies: list[OnnxPolicy], width: int, height: int, calls: int, pause_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """(policies, calls) milliseconds on the wall and of CPU time per `act`, after twenty calls of each to warm up."""
    rng = np.random.default_rng(0)
    goal = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    observations = rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    wall, cpu = np.empty((2, len(policies), calls + 20))
    last = [NONE_CHOSEN] * len(policies)
    for call in range(calls + 20):
        for number, policy in enumerate(policies):
            time.sleep(pause_s)
            begin, cpu_begin = time.perf_counter(), time.process_time()
            output = policy.act(observations[call % len(observations)], goal, last[number])
            wall[number, call] = 1e3 * (time.perf_counter() - begin)
            cpu[number, call] = 1e3 * (time.process_time() - cpu_begin)
            if output.candidates is not None:
                last[number] = output.candidates.chosen
    return wall[:, 20:], cpu[:, 20:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, nargs="+", required=True, help="the .onnx bundles")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="cores for one inference (default: 1 2)")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--pause-s", type=float, default=0.02, help="between calls (default: %(default)s)")
    args = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}, {platform.machine()}")
    for file in args.policy:
        begin = time.perf_counter()
        contract = PolicyBundle.open(file).contract
        chooses = f", {contract.candidates} candidates of {contract.flow_steps} steps" if contract.chooses else ""
        print(
            f"{file.name} ({file.stat().st_size / 1e6:.1f} MB): opening with all checks "
            f"{1e3 * (time.perf_counter() - begin):.0f} ms; policy sees {contract.image_size} px{chooses}"
        )
    print(
        f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores: with more load "
        "than cores the wall times are the load's"
    )
    print("threads  camera     p50 ms   p99 ms   max ms   cpu p50 ms   cpu p99 ms   p99 ratio  policy")
    for threads in args.threads:
        policies = [OnnxPolicy(PolicyBundle.open(file, threads=threads)) for file in args.policy]
        for width, height in SIZES:
            walls, cpus = measure(policies, width, height, args.calls, args.pause_s)
            p99 = np.percentile(walls, 99, axis=1)
            for file, wall, cpu, slow in zip(args.policy, walls, cpus, p99):
                print(
                    f"{threads:7d}  {width}x{height}  {np.median(wall):8.2f} {slow:8.2f} {wall.max():8.2f}  "
                    f"{np.median(cpu):10.2f}  {np.percentile(cpu, 99):10.2f}  {slow / p99[0]:10.2f}  {file.name}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
