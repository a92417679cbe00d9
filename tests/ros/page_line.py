"""A page's line in a thread, as the browser keeps it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.ros.ros_helpers import PATIENCE_S


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class PageLine:
    """Says what `dead_man` and `keys` are at each beat, while it `speaks`; `late_s` later, and of another `beat` where
    there is one. While it is `cut`, nothing goes through.
    """

    def __init__(self, port: int) -> None:
        self.dead_man = False
        self.keys: list[str] | Callable[[], list[str]] = []
        self.speaks = True
        self.late_s = 0.0
        self.beat: float | None = None
        self.cut = threading.Event()
        self.told = ""  # why the hand does not count, by the node
        self.pictures: list[bytes] = []
        self._ended = threading.Event()
        self._line: ClientConnection = connect(
            f"ws://127.0.0.1:{port}/live", origin=f"http://127.0.0.1:{port}", max_size=2**22
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """As a tab is closed."""
        self._ended.set()
        self._line.close()
        self._thread.join(timeout=PATIENCE_S)

    def _messages(self) -> Iterator[str | bytes]:
        """What comes until the line ends, at either side."""
        with contextlib.suppress(ConnectionClosed):
            yield from self._line

    def _run(self) -> None:
        waiting: deque[tuple[float, str]] = deque()
        for message in self._messages():
            while self.cut.is_set() and not self._ended.is_set():
                time.sleep(0.005)
            if self._ended.is_set():
                return
            if isinstance(message, bytes):
                self.pictures.append(message)
                self._line.send('{"got": 1}')
                continue
            said = json.loads(message)
            self.told = said["hand"]
            if self.speaks:
                beat = said["beat"] if self.beat is None else self.beat
                hand = {
                    "beat": beat,
                    "dead_man": self.dead_man,
                    "keys": list(self.keys() if callable(self.keys) else self.keys),
                }
                waiting.append((time.monotonic() + self.late_s, json.dumps({"hand": hand})))
            while waiting and waiting[0][0] <= time.monotonic():
                self._line.send(waiting.popleft()[1])
