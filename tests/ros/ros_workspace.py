"""Makes a built colcon workspace importable in this process, though its shell never sourced it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path


def enter(install: Path) -> None:
    """As `source install/setup.bash` before Python began."""
    before = set(sys.path)
    sourced = subprocess.run(
        ["bash", "-c", 'source "$0" >/dev/null && env -0', str(install / "setup.bash")], capture_output=True, check=True
    )
    os.environ.update(entry.split("=", 1) for entry in sourced.stdout.decode().split("\0") if "=" in entry)
    sys.path[:0] = [entry for entry in os.environ["PYTHONPATH"].split(":") if entry and entry not in before]
    # The loader read LD_LIBRARY_PATH when this process began; but a library that is loaded already is found
    # without it.
    pending = list(install.glob("*/lib/*.so"))
    for _ in range(len(pending)):  # they need each other: as often as the longest chain
        for library in list(pending):
            try:
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
                pending.remove(library)
            except OSError:
                continue
