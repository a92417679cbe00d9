"""What the doctor finds, and how it tries something that may hang or break its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Tried:
    """What became of a program: its exit code (None: it did not end in time), and what it said."""

    code: int | None
    said: list[str]
    complained: list[str]

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        if self.code is None:
            return "it hangs"
        return self.complained[-1][:300] if self.complained else f"it ended with exit code {self.code}"


def tried(command: list[str], environment: Mapping[str, str], limit_s: float) -> Tried:
    """Run a program for at most `limit_s` seconds; what it started ends with it."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    code: int | None = None
    try:
        said, complained = process.communicate(timeout=limit_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        said, complained = b"", b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if code is None:
        said, complained = process.communicate()
    return Tried(code, _lines(said), _lines(complained))


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
