"""A policy server in a thread, and pictures to ask it about."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from mqe_core.runtime.remote.policy_server import PolicyServer

ANY = "tcp://127.0.0.1:*"
PATIENCE_S = 5.0  # for an answer that must come, on a busy machine


class Running:
    """A server in a thread."""

    def __init__(self, bundle, address: str = ANY, keys: Path | None = None) -> None:
        self.server = PolicyServer(bundle, address, keys)
        self.address = self.server.address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.server.serve, args=(self._stop.is_set,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.server.close()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
