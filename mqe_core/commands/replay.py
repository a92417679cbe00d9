"""Run a policy over a recording again and compare its actions with those that were commanded.

mqe replay runs/bags/DAY --policy policy.onnx

With the policy that made the recording the actions must come out the same; with another one the figures say how
far the two differ on what that day's camera saw. Exit code 1 where the same policy answers otherwise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", metavar="BAG", type=Path, help="an .mcap file, or a folder with some")
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and judge."""
    import numpy as np

    from mqe_core.bundle import PolicyBundle
    from mqe_core.bundle_contract import ACTION_NAMES
    from mqe_core.data.ros_bag import bag_files, recorded_decisions, recorded_fingerprints
    from mqe_core.runtime.policy import OnnxPolicy

    files = bag_files(args.bag)
    if not files:
        raise ValueError(f"{args.bag} holds no .mcap file; record one with record:=true")
    policy = OnnxPolicy(PolicyBundle.open(args.policy))
    tolerance = policy.contract.action_tolerance
    differences, missing = [], 0
    for decision in (decision for file in files for decision in recorded_decisions(file)):
        if decision is None:
            missing += 1
        else:
            differences.append(policy.act(decision.image, decision.goal).action - decision.action)
    if not differences:
        raise ValueError(f"{args.bag} holds no command with its image and goal; was it recorded while the arm was driven?")
    largest = np.abs(differences).max(axis=0)
    fingerprints = sorted({fingerprint for file in files for fingerprint in recorded_fingerprints(file)})
    is_same_policy = fingerprints == [policy.fingerprint]
    agrees = bool((largest <= tolerance).all())
    summary = {
        "commands": len(differences),
        "without_image_or_goal": missing,
        "same_policy": is_same_policy,
        "agrees": agrees,
        "largest_difference": dict(zip(ACTION_NAMES, largest.tolist())),
        "mean_difference": dict(zip(ACTION_NAMES, np.abs(differences).mean(axis=0).tolist())),
    }
    if args.json:
        print(json.dumps(summary, indent=2))
    else:
        recorded = ", ".join(name[:12] for name in fingerprints) or "not stated"
        whose = "the policy that made them" if is_same_policy else f"another policy (recorded: {recorded})"
        print(f"{len(differences)} commands replayed with {whose}, {missing} without image or goal")
        print("largest difference  " + "  ".join(f"{name} {value:.2g}" for name, value in summary["largest_difference"].items()))
        print("within the bundle's tolerance" if agrees else "beyond the bundle's tolerance")
    return 1 if is_same_policy and not agrees else 0
