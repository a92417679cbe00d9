"""What an answer costs with each image encoder: numbers, multiplications, file, and time on this machine.

    python benchmarks/encoder_latency.py --encoders resnet34 --sizes 128 256 [--shared]

The policy is MQE's, not trained, as time does not depend on the weights, with pictures of the policy's own size. The
goal stays, as on the robot, so its part is computed once (`policy/goal_once.py`); in brackets how many of the
multiplications that is. Times are per answer; those of the processor hardly depend on what else runs, those on the wall
do.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import onnx
import torch

from mqe_core.learning.agents import AGENTS
from mqe_core.learning.export.onnx_graph import deployed_policy, to_onnx
from mqe_core.learning.rows.observations import ObservationSpec
from mqe_core.learning.run.run_config import make_config
from mqe_core.policy.cost import graph_cost
from mqe_core.policy.goal_once import PolicySession


def make_graph(encoder: str, size: int, shared: bool) -> onnx.ModelProto:
    """The graph of an untrained policy."""
    keys = {"encoder_shared": True, "actor_fusion": "late"} if shared else {}
    config = make_config({"agent": "mqe", "encoder": encoder, **keys})
    agent = AGENTS["mqe"][0](config.agent, ObservationSpec("pixels", image_size=size), 7)
    return to_onnx(deployed_policy(agent, -torch.ones(7), torch.ones(7)), size)


def measure(graph: onnx.ModelProto, size: int, threads: int, calls: int) -> tuple[np.ndarray, np.ndarray]:
    """(calls,) seconds on the wall and of the processor, after three to warm up."""
    session = PolicySession(graph, threads)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 1, size, size, 3), dtype=np.uint8)
    wall, processor = np.empty((2, calls + 3))
    for call in range(calls + 3):
        begin, processor_begin = time.perf_counter(), time.process_time()
        session.run({"observation": pictures[0], "goal": pictures[1]})
        wall[call], processor[call] = time.perf_counter() - begin, time.process_time() - processor_begin
        time.sleep(0.02)
    return wall[3:], processor[3:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", nargs="+", default=["resnet34"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--shared", action="store_true", help="one encoder for critic and policy")
    args = parser.parse_args()
    print("encoder   px  parameters   GMAC           MB  threads  processor p50, p99    wall p50, p99       load")
    for encoder in args.encoders:
        for size in args.sizes:
            graph = make_graph(encoder, size, args.shared)
            cost, megabytes = graph_cost(graph), graph.ByteSize() / 1e6
            for threads in args.threads:
                wall, processor = measure(graph, size, threads, args.calls)
                times = [1e3 * np.percentile(values, q) for values in (processor, wall) for q in (50, 99)]
                print(
                    f"{encoder:9}{size:4} {cost.parameters / 1e6:9.1f} M {cost.macs / 1e9:6.2f} "
                    f"({cost.goal_macs / 1e9:.2f}) {megabytes:7.1f}  {threads:7}  {times[0]:7.0f}, {times[1]:4.0f} ms  "
                    f"{times[2]:9.0f}, {times[3]:4.0f} ms  {os.getloadavg()[0]:5.1f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
