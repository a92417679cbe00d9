"""Check a policy file as the robot would, and show its contract; of a file or a run also what it costs.

mqe inspect policy.onnx      its contract, numbers, multiplications and the time of an answer on this machine
mqe inspect RUN              the same of a run folder, before it is exported
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

CAMERA = (480, 640)  # height and width of the frames that latency is measured with, a webcam's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe inspect`."""
    parser.add_argument("policy", metavar="FILE", type=Path, help="the .onnx file, or a run folder")
    parser.add_argument("--robot", help="also check that it fits this robot spec, e.g. widowx250s")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Run `mqe inspect`."""
    if args.policy.is_dir():
        return _inspect_run(args)
    import onnx

    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.policy.cost import graph_cost
    from mqe_core.robot.spec import load_robot_spec
    from mqe_core.runtime.latency import measure
    from mqe_core.runtime.onnx_policy import OnnxPolicy

    bundle = PolicyBundle.open(args.policy, load_robot_spec(args.robot) if args.robot else None)
    cost, latency = graph_cost(onnx.load(args.policy)), measure(OnnxPolicy(bundle), *CAMERA)
    report = {
        "file": str(args.policy),
        "bytes": args.policy.stat().st_size,
        "schema": bundle.schema,
        "fingerprint": bundle.fingerprint,
        "outputs": bundle.outputs,
        "parameters": cost.parameters,
        "weights": cost.weights,
        "macs": cost.macs,
        "macs_once_a_goal": cost.goal_macs,
        "latency_p50_ms": round(1e3 * latency.p50_s, 2),
        f"latency_{latency.slow}_ms": round(1e3 * latency.p99_s, 2),
        **bundle.contract.stated(),
    }
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    if bundle.contract.reference is not None:
        report["reference_picture"] = "what the camera saw in training"
    if bundle.contract.familiarity is not None:
        report["familiar_pictures"] = f"at most {100 * bundle.contract.familiarity.most_outside:.2f} % outside"
    metrics, low, high = report.pop("metrics"), report.pop("action_low"), report.pop("action_high")
    names, units = report.pop("action_names"), report.pop("action_units")
    for key, value in report.items():
        print(f"{key:20}{', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    for name, unit, a, b in zip(names, units, low, high):
        print(f"{'action ' + name:20}{a:+.4f} to {b:+.4f} {unit}")
    for name, value in sorted(metrics.items()):
        print(f"metric {name:35} {value:.6g}")
    print("all checks passed: contents, schema, contract, graph, golden outputs")
    return 0


def _inspect_run(args: argparse.Namespace) -> int:
    from mqe_core.learning.run.run_cost import run_cost

    if args.robot:
        raise ValueError("--robot is for policy files: mqe export RUN --robot NAME checks whether a run fits")
    cost, metadata = run_cost(args.policy)
    observation = metadata["observation"]
    report = {
        "run": str(args.policy),
        "agent": metadata["agent"],
        "step": metadata["step"],
        "observation": observation["kind"],
        **({"encoder": metadata["encoder"]} if observation["kind"] == "pixels" else {}),
        "image_size": observation["image_size"],
        "parameters": cost.parameters,
        "encoder_parameters": cost.encoder_parameters,
        "macs": cost.macs,
        "latency_p50_ms": round(cost.p50_ms, 2),
        "latency_slowest_ms": round(cost.slowest_ms, 2),
        "latency_calls": cost.calls,
    }
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    for key, value in report.items():
        print(f"{key:20}{value}")
    print("latency is of torch on one thread; of a bundle it is onnxruntime's")
    return 0
