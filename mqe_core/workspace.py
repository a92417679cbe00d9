"""The built ROS workspace, and how a command runs in it.

It is found beside this package (ros2_ws/install), or through the environment that a sourced setup.bash made.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from mqe_core.interrupts import ignore_interrupts

_BRINGUP = "mqe_bringup"
_INSTALLED = Path(__file__).resolve().parents[1] / "ros2_ws" / "install" / "setup.bash"  # in a source checkout


def is_built() -> bool:
    """Whether the workspace is there: beside this package, or in the environment."""
    return _INSTALLED.is_file() or importlib.util.find_spec(_BRINGUP) is not None


def run_in_workspace(module: str, *arguments: str) -> NoReturn:
    """Replace this process by a module of the built workspace, which hears Ctrl-C once it calls `hear_interrupts`.

    RuntimeError, with the remedy, where no workspace is built.
    """
    environment = workspace_environment()
    ignore_interrupts()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environment)


def workspace_environment() -> dict[str, str]:
    """The environment in which the built packages are found. RuntimeError, with the remedy, where none are built."""
    if importlib.util.find_spec(_BRINGUP) is not None:
        return dict(os.environ)
    if not _INSTALLED.is_file():
        raise RuntimeError(
            f"the ROS workspace is not built: {_INSTALLED} does not exist. Run `make setup`, or build ros2_ws "
            f"with colcon and source its setup.bash"
        )
    done = subprocess.run(
        ["bash", "-c", 'source "$0" >/dev/null && env -0', str(_INSTALLED)], capture_output=True, timeout=60
    )
    environment = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry)
    if done.returncode != 0 or "AMENT_PREFIX_PATH" not in environment:
        raise RuntimeError(
            f"{_INSTALLED} cannot be sourced: {done.stderr.decode().strip()}; build it again (make setup)"
        )
    return environment
