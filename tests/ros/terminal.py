"""`mqe teleop` in a pseudo-terminal, for the tests of what it does."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable

from tests.ros.ros_helpers import PATIENCE_S, Client

OFFERED = "Ctrl-C ends it"  # the end of the keys' legend
MODULE = [sys.executable, "-m", "mqe_bringup.keyboard"]


class Terminal:
    """The process, and what it has said so far."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(MODULE, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._theirs = theirs
        os.set_blocking(self.process.stdout.fileno(), False)
        self.said = ""

    def until(self, text: str, again: Callable[[], object] = lambda: None) -> None:
        """Listen until it has said `text`, and do `again` all the while."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.said:
            assert time.monotonic() < end and self.process.poll() is None, f"{text!r} was not said: {self.said}"
            again()
            self._client.listen()
            self.hear()

    def hear(self) -> None:
        self.said += (self.process.stdout.read() or b"").decode()

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def settings(self) -> list:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        # A process that is killed stays listed for 10 s, and would count among the next one's publishers.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        os.close(self.ours)
        os.close(self._theirs)
