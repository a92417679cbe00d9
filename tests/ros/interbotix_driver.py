"""A fake of Interbotix's driver as a process, and its messages importable in this one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.ros.ros_workspace import enter

HERE = Path(__file__).parent / "interbotix"
INSTALL = HERE.parents[2] / "build" / "interbotix" / "install"  # made by `make test-setup`

if importlib.util.find_spec("interbotix_xs_msgs") is None and (INSTALL / "setup.bash").is_file():
    enter(INSTALL)
if importlib.util.find_spec("interbotix_xs_modules") is None:  # upstream's where it is installed
    sys.path.append(str(HERE / "stand_in"))
    os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(HERE / "stand_in")])


class FakeDriver:
    """The process, what reached it, and a way to make it misbehave."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / "commands.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_xs_sdk.py"), "--log", str(self._log), *arguments]
        )

    def commands(self, what: str) -> list[tuple[float, list[float]]]:
        """(monotonic s, values) of every command of that kind so far."""
        lines = map(json.loads, self._log.read_text(encoding="utf-8").splitlines()) if self._log.exists() else ()
        return [(when, values) for when, kind, values in lines if kind == what]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
