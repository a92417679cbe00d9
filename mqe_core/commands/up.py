"""start the ROS graph: the launch file's processes without `ros2 launch` (mqe up goal:=place.png)

Arguments are those of `ros2 launch mqe_bringup widowx.launch.py`, as name:=value. Ctrl-C ends every process.
The built workspace is found beside this package (ros2_ws/install) or through the environment that a sourced
setup.bash made.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import mqe_core

_BRINGUP = "mqe_bringup"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="NAME:=VALUE",
        help="goal:=, backend:=, policy:=, camera:=, task:=, seed:=, record:=, …",
    )
    parser.add_argument("--list-arguments", action="store_true", help="say what each argument means, and end")


def run(args: argparse.Namespace) -> int:
    """Replaces this process by the graph's supervisor in the workspace's environment."""
    run_in_workspace(f"{_BRINGUP}.up", *(["--list-arguments"] if args.list_arguments else args.arguments))


def run_in_workspace(module: str, *arguments: str) -> NoReturn:
    """Replaces this process by that module of the built workspace. RuntimeError with the remedy where none is built."""
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], workspace_environment())


def workspace_environment() -> dict[str, str]:
    """The environment in which the built packages are found. RuntimeError with the remedy where none is."""
    if importlib.util.find_spec(_BRINGUP) is not None:
        return dict(os.environ)
    setup = Path(mqe_core.__file__).resolve().parents[1] / "ros2_ws" / "install" / "setup.bash"
    if not setup.is_file():
        raise RuntimeError(
            f"the ROS workspace is not built: {setup} does not exist. Run `make setup`, or build ros2_ws "
            f"with colcon and source its setup.bash"
        )
    done = subprocess.run(
        ["bash", "-c", 'source "$0" >/dev/null && env -0', str(setup)], capture_output=True, timeout=60
    )
    environment = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry)
    if done.returncode != 0 or "AMENT_PREFIX_PATH" not in environment:
        raise RuntimeError(f"{setup} cannot be sourced: {done.stderr.decode().strip()}; build it again (make setup)")
    return environment
