"""Starts processes, watches them, and ends them together: SIGINT first, harder signals where it fails."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mqe_bringup.process import END_S, Process
from mqe_core.interrupts import ignore_interrupts

_GRACE_S = ((signal.SIGINT, END_S), (signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """The running processes of one graph.

    Each child leads a session of its own, so that a Ctrl-C in the terminal reaches it once, through `stop`;
    and the kernel interrupts it where this process dies without a word.

    Args:
        environment: set on top of this process's; what the user has set already wins.
        log_folder: where each process's output goes as NAME.log; None: to this process's own output.
    """

    def __init__(self, environment: Mapping[str, str], log_folder: Path | None = None) -> None:
        self._environment = {**environment, **os.environ}
        self._log_folder = log_folder
        self._children: dict[str, subprocess.Popen] = {}
        self._unneeded: set[str] = set()  # whose end does not end the graph

    def start(self, processes: Sequence[Process]) -> None:
        parent = os.getpid()
        libc = ctypes.CDLL(None)

        def begin_quietly() -> None:
            ignore_interrupts()
            die_with_parent()

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
            if os.getppid() != parent:  # it died before the call above
                os._exit(1)

        for process in processes:
            output = None if self._log_folder is None else (self._log_folder / f"{process.name}.log").open("wb")
            self._children[process.name] = subprocess.Popen(
                process.command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                # A module of ours hears an interrupt once it has its handler; before, Python would show its imports.
                preexec_fn=die_with_parent if process.module is None else begin_quietly,
            )
            if output is not None:
                output.close()
            if not process.is_needed:
                self._unneeded.add(process.name)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: child.pid for name, child in self._children.items()}

    def ended(self) -> tuple[str, int] | None:
        """(name, exit code) of a process that ended by itself and that the graph needs; None while all of those run."""
        for name, child in self._children.items():
            if name not in self._unneeded and child.poll() is not None:
                return name, child.returncode
        return None

    def wait(self, stopping: Callable[[], bool], tell: Callable[[str], None]) -> tuple[str, int] | None:
        """Until a needed process ends (its name and exit code) or `stopping()` is true (None); what else ended is told,
        once.
        """
        told: set[str] = set()
        while not stopping():
            for name in self._unneeded - told:
                if (code := self._children[name].poll()) is not None:
                    tell(f"{name} ended with exit code {code}; the graph goes on without it")
                    told.add(name)
            ended = self.ended()
            if ended is not None:
                return ended
            time.sleep(0.1)
        return None

    def stop(self) -> dict[str, int]:
        """End all; returns their exit codes by name. Safe to call again."""
        for number, grace in _GRACE_S:
            for child in self._children.values():
                if child.poll() is None:
                    child.send_signal(number)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and any(child.poll() is None for child in self._children.values()):
                time.sleep(0.02)
        return {name: child.wait() for name, child in self._children.items()}

    def log_tail(self, name: str, lines: int = 8) -> str:
        """The end of a process's log; empty where it logs to the terminal."""
        if self._log_folder is None:
            return ""
        text = (self._log_folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])
