"""Says what this Python lacks for `make`: another version, venv, or the headers that the ROS messages need."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def missing() -> str | None:
    """What to do, or None where nothing is missing."""
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        return f"needs Python 3.10 to 3.12, this is {sys.version_info[0]}.{sys.version_info[1]}"
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        return "needs Python's venv: sudo apt install python3-venv"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "needs Python's headers: sudo apt install python3-dev"
    return None


sys.exit(missing())
