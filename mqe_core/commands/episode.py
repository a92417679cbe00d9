"""Mark where the episodes of a running recording begin and end (mqe up record:=true).

mqe episode start         an episode begins
mqe episode stop          it ends, and is kept
mqe episode discard       the newest one is none, whether it has ended or not
mqe episode label TEXT    what the newest one shows

`mqe data import` then takes what lies in the episodes that were kept. The graph is the one in this ROS domain
(ROS_DOMAIN_ID). Exit code 1 where nothing records, or the mark does not fit.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe episode`."""
    from mqe_core.robot.episode_marks import LABEL, MARKS

    actions = parser.add_subparsers(dest="mark", required=True, metavar="MARK")
    for name, meaning in MARKS.items():
        action = actions.add_parser(name, help=meaning)
        if name == LABEL:
            action.add_argument("text", metavar="TEXT", help="in one line")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by one that speaks with the graph."""
    from mqe_core.workspace import run_in_workspace

    run_in_workspace("mqe_bringup.episodes", args.mark, *([args.text] if "text" in args else []))
