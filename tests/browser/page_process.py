"""The page over a graph that is none, in a process that may be killed and started again on its port."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
_START_S = 120.0


class PageProcess:
    """Started when it is made. `folder` gets its goals, recordings and log; `hold_s`: so long the arm takes to hold.
    `token`: that is needed; empty: none is.
    """

    def __init__(self, folder: Path, hold_s: float = 0.0, token: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        self.folder, self._log, self._hold_s, self._token = folder, folder / "log", hold_s, token
        self.start()

    def start(self) -> None:
        """Returns once it answers."""
        arguments = [str(self.port), str(self.folder), str(self._hold_s), *([self._token] if self._token else [])]
        command = [sys.executable, "-m", "tests.browser.fake_console", *arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        end = time.monotonic() + _START_S
        while True:
            try:
                urllib.request.urlopen(self.address, timeout=5.0).close()
                return
            except urllib.error.HTTPError as error:
                assert error.code == 401 and self._token  # it answers
                return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None and time.monotonic() < end, self._log.read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """As a machine does that loses its power."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    @property
    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    @property
    def memory_bytes(self) -> int:
        """What the process has in memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * 4096
