"""How the end of one rank ends all, with its reason: each rank beats, and reads what the others leave behind.

A rank that waits for one that is gone waits for ever, in code that hears nothing. So a thread of each rank looks at a
store that all of them see (torchrun's): whether one has left a reason, and whether all still beat. If not, it says so
and ends its own process.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is there

logger = logging.getLogger(__name__)

BEAT_S = 0.5
PATIENCE_S = 15.0  # without a beat, before a rank counts as dead
SUSPICION_S = 3.0  # the same, once a connection has broken
INTERRUPTED = 130  # exit code after Ctrl-C
_LEFT, _HEARD, _BEAT = "mqe/left", "mqe/heard", "mqe/beat"


class LostRankError(RuntimeError):
    """Another rank is gone, and with it the run."""


class Watch:
    """Beats for one rank and listens to all.

    Args:
        address: host and port of the store.
        rank: whose watch it is, of ``world`` ranks.
        name: of the rank, as others may tell it.
        speaks: whether it says why another rank has ended; of a machine's ranks one is enough.
    """

    def __init__(self, address: tuple[str, int], rank: int, world: int, *, name: str, speaks: bool) -> None:
        self._rank, self._world, self._name, self._speaks = rank, world, name, speaks
        self._store = TCPStore(*address, is_master=False, wait_for_workers=False)
        self._beats, self._patience_s = 0, PATIENCE_S
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)
        self._beat()

    def start(self) -> None:
        """When all have made theirs."""
        self._thread.start()

    def stop(self) -> None:
        """All are done."""
        self._over.set()
        self._thread.join()

    def tell(self, reason: str, code: int) -> None:
        """Leave why this rank ends, for the others to end with exit code ``code``, and give them time to read it."""
        self._over.set()
        left = f"{code} {self._name}: {reason}"
        try:
            if self._store.compare_set(_LEFT, "", left).decode() != left:
                self._store.add(_HEARD, 1)
                return  # another one was first, and this one ends of itself
            until = time.monotonic() + 4 * BEAT_S
            while self._store.add(_HEARD, 0) < self._world - 1 and time.monotonic() < until:
                time.sleep(BEAT_S / 5)
        except RuntimeError:
            logger.debug("nobody is left to be told", exc_info=True)

    def wait_for_the_end(self) -> None:
        """Of this process, by this watch, once it knows who is gone and why: a broken connection comes before that."""
        self._patience_s = SUSPICION_S
        time.sleep(SUSPICION_S + 8 * BEAT_S)

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(f"{_BEAT}/{self._rank}", f"{self._beats} {self._name}")

    def _run(self) -> None:
        others = [rank for rank in range(self._world) if rank != self._rank]
        names = [f"{_BEAT}/{rank}" for rank in others]
        seen = dict.fromkeys(others, (b"", time.monotonic()))
        while not self._over.wait(BEAT_S):
            try:
                self._beat()
                if self._store.check([_LEFT]):
                    code, _, reason = self._store.get(_LEFT).decode().partition(" ")
                    self._store.add(_HEARD, 1)
                    return self._end(reason, int(code), self._speaks)
                beats = self._store.multi_get(names)
            except RuntimeError as error:  # a DistError of the store
                logger.debug("%s", error)
                if self._over.wait(4 * BEAT_S):
                    return None  # the ranks are done, and rank 0 has gone first
                return self._end("the ranks' store is gone: rank 0, or torchrun on its machine, has ended")
            now = time.monotonic()
            for rank, beat in zip(others, beats):
                if beat != seen[rank][0]:
                    seen[rank] = beat, now
                elif now - seen[rank][1] > self._patience_s:
                    who = beat.decode().partition(" ")[2]
                    return self._end(f"{who} has been silent for {self._patience_s:.0f} s: killed, or cut off")

    def _end(self, reason: str, code: int = 1, speaks: bool = True) -> None:
        """This process, whatever it waits for."""
        if self._over.is_set():
            return
        if speaks:
            sys.stderr.write(f"mqe train: {reason}; the run is kept as of its last checkpoint\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
