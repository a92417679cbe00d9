"""How long one answer of a policy takes on this machine: a camera image in, resizing included, an action out.

    python benchmarks/policy_latency.py --policy policy.onnx

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

from mqe_core.bundle import PolicyBundle
from mqe_core.runtime.policy import OnnxPolicy

SIZES = ((640, 480), (128, 96))  # a webcam's frame, the sim's frame; width × height


def measure(policy: OnnxPolicy, width: int, height: int, calls: int, pause_s: float) -> tuple[np.ndarray, np.ndarray]:
    """(calls,) milliseconds on the wall and of CPU time per `act`, after twenty calls to warm up."""
    rng = np.random.default_rng(0)
    goal = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    observations = rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    wall, cpu = [], []
    for call in range(calls + 20):
        time.sleep(pause_s)
        begin, cpu_begin = time.perf_counter(), time.process_time()
        policy.act(observations[call % len(observations)], goal)
        wall.append(1e3 * (time.perf_counter() - begin))
        cpu.append(1e3 * (time.process_time() - cpu_begin))
    return np.array(wall[20:]), np.array(cpu[20:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="the .onnx bundle")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="cores for one inference (default: 1 2)")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--pause-s", type=float, default=0.02, help="between calls (default: %(default)s)")
    args = parser.parse_args()
    print(
        f"{args.policy} ({args.policy.stat().st_size / 1e6:.1f} MB), onnxruntime {onnxruntime.__version__}, "
        f"{platform.machine()}"
    )
    begin = time.perf_counter()
    contract = PolicyBundle.open(args.policy).contract
    print(
        f"opening with all checks: {1e3 * (time.perf_counter() - begin):.0f} ms; policy sees {contract.image_size} px"
    )
    print(
        f"load average {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores: with more load "
        "than cores the wall times are the load's"
    )
    print("threads  camera     p50 ms   p99 ms   max ms   cpu p50 ms")
    for threads in args.threads:
        policy = OnnxPolicy(PolicyBundle.open(args.policy, threads=threads))
        for width, height in SIZES:
            wall, cpu = measure(policy, width, height, args.calls, args.pause_s)
            p50, p99 = np.percentile(wall, [50, 99])
            print(
                f"{threads:7d}  {width}x{height}  {p50:8.2f} {p99:8.2f} {wall.max():8.2f}  {np.median(cpu):10.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
