"""Hold, resume or home the arm of a running graph, or say how it is.

mqe arm hold        the arm keeps its place and takes no commands, whoever sends them
mqe arm resume      it takes commands again
mqe arm home        to the neutral pose, and wait until it is there; Ctrl-C holds it
mqe arm status      what arm and policy are doing

The graph is the one in this ROS domain (ROS_DOMAIN_ID). Exit code 1 where it does not answer, or the arm refuses.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe arm`."""
    actions = parser.add_subparsers(dest="arm_command", required=True, metavar="ACTION")
    actions.add_parser("hold", help="keep the last target and take no commands")
    actions.add_parser("resume", help="take commands again")
    actions.add_parser("home", help="move to the neutral pose")
    actions.add_parser("status", help="what arm and policy are doing")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by one that asks the graph."""
    from mqe_core.workspace import run_in_workspace

    run_in_workspace("mqe_bringup.operate", args.arm_command)
