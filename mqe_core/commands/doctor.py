"""Check whether this machine can drive an arm, and say what to fix.

mqe doctor                                      versions, policy, ROS, shared memory, clock, camera, arm, disk
mqe doctor --policy policy.onnx --camera 0      time that policy, and read that camera for two seconds

ROS is tried: a node is started, and a message sent, in a domain where nobody on this machine speaks.
Exit code 1 where something would keep the graph from starting or from being safe.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe doctor`."""
    parser.add_argument(
        "--policy", metavar="FILE", type=Path, help="the .onnx file (default: the one that mqe up takes)"
    )
    parser.add_argument("--camera", metavar="DEVICE", help="a video device to read from, such as 0 or /dev/video0")
    parser.add_argument("--robot", default="widowx250s", help="robot spec (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings as they come."""
    import dataclasses
    import json

    from mqe_core.doctor.finding import FAIL, OK
    from mqe_core.doctor.machine import examine
    from mqe_core.robot.spec import load_robot_spec
    from mqe_core.user_files import policy_in_use, shipped_policy

    policy, source = policy_in_use(args.policy, shipped_policy())
    findings = []
    for finding in examine(load_robot_spec(args.robot), policy, source, args.camera):
        findings.append(finding)
        if not args.json:
            print(f"{finding.level:4}  {finding.what}", flush=True)
            if finding.remedy:
                print(f"      -> {finding.remedy}", flush=True)
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    bad = sum(finding.level == FAIL for finding in findings)
    if not args.json:
        print(
            f"{bad} to fix, {sum(finding.level not in (OK, FAIL) for finding in findings)} to know, "
            f"{len(findings)} looked at"
        )
    return 1 if bad else 0
