"""Latency and throughput of a served policy: python benchmarks/remote_latency.py [--policy FILE] [--requests N]

The server is `mqe serve` with CURVE keys on this machine's loopback, the clients processes that ask as fast as
they get answers, with 640x480 images (resized by the client, as on a robot). Prints one line per number of
clients: what an answer takes (p50, p99, with the client's own resizing), how much of that the same bundle takes
in one process, and answers per second in all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHIPPED = Path(__file__).parents[1] / "ros2_ws/src/mqe_bringup/policies/widowx_sim.onnx"
ADDRESS = "tcp://127.0.0.1:5599"
WARM_UP = 20


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(3)]


def times(act, requests: int) -> list[float]:
    """Seconds of each answer, the first ones left out."""
    observations, (goal, *_) = images(), images()
    taken = []
    for k in range(WARM_UP + requests):
        began = time.perf_counter()
        act(observations[k % len(observations)], goal)
        taken.append(time.perf_counter() - began)
    return taken[WARM_UP:]


def client(keys: Path, requests: int, results) -> None:
    from mqe_core.runtime.remote.remote_policy import RemotePolicy

    policy = RemotePolicy(ADDRESS, keys=keys, reply_timeout_s=10.0, connect_timeout_s=60.0)
    results.put(times(policy.act, requests))
    policy.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", type=Path, default=SHIPPED)
    parser.add_argument("--requests", type=int, default=500)
    args = parser.parse_args()
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.runtime.onnx_policy import OnnxPolicy
    from mqe_core.runtime.remote.keys import make_keys

    local = 1e3 * np.median(times(OnnxPolicy(PolicyBundle.open(args.policy)).act, args.requests))
    print(f"in one process: p50 {local:.1f} ms; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        make_keys(keys)
        command = [
            sys.executable,
            "-m",
            "mqe_core.cli",
            "serve",
            "--policy",
            str(args.policy),
            "--bind",
            ADDRESS,
            "--keys",
            str(keys),
        ]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            for count in (1, 8):
                results = multiprocessing.Queue()
                workers = [
                    multiprocessing.Process(target=client, args=(keys, args.requests, results)) for _ in range(count)
                ]
                began = time.perf_counter()
                for worker in workers:
                    worker.start()
                taken = 1e3 * np.concatenate([results.get() for _ in workers])
                elapsed = time.perf_counter() - began
                for worker in workers:
                    worker.join()
                p50, p99 = np.percentile(taken, (50, 99))
                rate = count * 1e3 / taken.mean()
                print(
                    f"{count} client{'s' if count > 1 else ''}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {rate:.0f} "
                    f"answers/s ({elapsed:.0f} s in all)"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
