"""Move the arm of a running graph by the keys of this terminal, a small step at each press.

The first press takes the arm from a policy; mqe arm resume gives it back. A pad moves it smoothly: mqe up teleop:=joy.
The graph is the one in this ROS domain (ROS_DOMAIN_ID). Ctrl-C ends it, and the arm is held.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe teleop`."""
    parser.add_argument("--devices", metavar="FILE", default="", help="a devices' file of your own, for its keys")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by one that speaks with the graph."""
    from mqe_core.workspace import run_in_workspace

    run_in_workspace("mqe_bringup.keyboard", *([args.devices] if args.devices else []))
