"""Turn a training run into a policy file (policy.onnx) for the robot or the simulator.

The file carries its own contract and is proved equal to the trained network before it is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mqe_core.commands.choice_arguments import add_choice_arguments, choice_changes
from mqe_core.policy.domain import DOMAINS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe export`."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that `mqe train` wrote")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument(
        "--domain",
        choices=DOMAINS,
        help="what the training images show (default: what the data states)",
    )
    parser.add_argument(
        "--robot", default="widowx250s", help="robot spec that the policy is for (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoint",
        default="latest",
        help="latest, or a kept one such as step_00003000 (default: %(default)s)",
    )
    parser.add_argument(
        "--data", metavar="STORE", type=Path, help="the store it was trained on, where it has moved since"
    )
    parser.add_argument(
        "--held-out",
        metavar="STORE",
        type=Path,
        help="measure thresholds on these, which no training saw (default: what the run held out)",
    )
    parser.add_argument(
        "--half", action="store_true", help="keep the weights in float16: half the file, the same speed"
    )
    add_choice_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run `mqe export`."""
    from mqe_core.learning.export.export import export_run
    from mqe_core.robot.spec import load_robot_spec

    if args.out.suffix != ".onnx":
        raise ValueError(f"--out {args.out}: a policy file ends in .onnx")
    spec = load_robot_spec(args.robot)
    bundle = export_run(
        args.run_folder,
        args.out,
        spec,
        domain=args.domain,
        checkpoint=args.checkpoint,
        data=args.data,
        held_out=args.held_out,
        changes=choice_changes(args),
        half=args.half,
    )
    contract = bundle.contract
    print(
        f"{args.out}: {contract.agent}, {contract.domain} images of {contract.image_size} px, "
        f"{args.out.stat().st_size / 1e6:.1f} MB, "
        f"step {contract.metrics['step']:g}, fingerprint {bundle.fingerprint[:12]}"
    )
    return 0
