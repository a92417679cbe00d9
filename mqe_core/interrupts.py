"""Ctrl-C while a program starts: it waits until there is a handler, as Python would show where it was in its imports.

A process that is started inherits this, so it can be deaf from its first moment on.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


def ignore_interrupts() -> None:
    """Let every Ctrl-C wait, in this thread and in what it starts, until `hear_interrupts`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def hear_interrupts() -> None:
    """Let through the Ctrl-C that waits, and every later one."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """Processes that start in this block hear no Ctrl-C; who started them does, after it, and ends them."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # where it starts in the block, it lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
