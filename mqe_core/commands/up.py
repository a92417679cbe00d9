"""Start the ROS graph: the launch file's processes without `ros2 launch` (mqe up goal:=place.png)

Arguments are those of `ros2 launch mqe_bringup widowx.launch.py`, as name:=value. Ctrl-C ends every process.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe up`."""
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME:=VALUE",
        help="goal:=, backend:=, policy:=, camera:=, task:=, seed:=, record:=, …",
    )
    parser.add_argument("--list-arguments", action="store_true", help="say what each argument means, and end")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by the graph's supervisor in the workspace's environment."""
    from mqe_core.workspace import run_in_workspace

    run_in_workspace("mqe_bringup.up", *(["--list-arguments"] if args.list_arguments else args.arguments))
