"""Check a policy file as the robot would, and show its contract."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe inspect`."""
    parser.add_argument("policy", metavar="FILE", type=Path, help="the .onnx file")
    parser.add_argument("--robot", help="also check that it fits this robot spec, e.g. widowx250s")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Run `mqe inspect`."""
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.robot.spec import load_robot_spec

    bundle = PolicyBundle.open(args.policy, load_robot_spec(args.robot) if args.robot else None)
    report = {
        "file": str(args.policy),
        "bytes": args.policy.stat().st_size,
        "schema": bundle.schema,
        "fingerprint": bundle.fingerprint,
        "outputs": bundle.outputs,
        **bundle.contract.stated(),
    }
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    if bundle.contract.familiarity is not None:
        report["familiar_pictures"] = f"at most {100 * bundle.contract.familiarity.most_outside:.2f} % outside"
    metrics, low, high = report.pop("metrics"), report.pop("action_low"), report.pop("action_high")
    names, units = report.pop("action_names"), report.pop("action_units")
    for key, value in report.items():
        print(f"{key:18}{', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    for name, unit, a, b in zip(names, units, low, high):
        print(f"{'action ' + name:18}{a:+.4f} to {b:+.4f} {unit}")
    for name, value in sorted(metrics.items()):
        print(f"metric {name:35} {value:.6g}")
    print("all checks passed: contents, schema, contract, graph, golden outputs")
    return 0
