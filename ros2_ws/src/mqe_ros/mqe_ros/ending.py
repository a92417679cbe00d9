"""The end of a node is bounded: middleware that does not end is left."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator

MIDDLEWARE_END_S = 3.0


@contextlib.contextmanager
def leaving(name: str, failure: BaseException | None) -> Iterator[None]:
    """In this block the middleware ends. Where that takes longer than MIDDLEWARE_END_S, the process ends, with all
    threads' stacks on stderr: nothing that moves an arm is left to do by then. Exit code 0, or 1 where there was a
    `failure`, which is told.

    Seen as a rare hang of a node at its end, which the graph then had to kill.
    """

    def leave() -> None:
        sys.stderr.write(f"{name}: the middleware did not end within {MIDDLEWARE_END_S:g} s and is left\n")
        if failure is not None:
            sys.stderr.write(f"{name}: {failure}\n")
        sys.stderr.flush()
        faulthandler.dump_traceback(file=sys.stderr)
        os._exit(0 if failure is None else 1)

    timer = threading.Timer(MIDDLEWARE_END_S, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
