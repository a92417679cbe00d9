"""The hold before a broken graph is ended. An arm that is held stays where it is; any other goes to rest."""

from __future__ import annotations

import subprocess
import sys

_PATIENCE_S = 15.0  # mqe arm hold gives up before


def hold_the_arm(ended: str) -> str:
    """Ask arm_node to hold, and say for people what came of it.

    `ended` is the process that broke the graph. Where that is arm_node itself, nobody is asked.
    """
    if ended == "arm_node":
        return "the arm keeps what it was sent last"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mqe_bringup.operate", "hold"], capture_output=True, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return "the arm may not be holding"
    return "the arm holds where it is" if done.returncode == 0 else "the arm may not be holding"
