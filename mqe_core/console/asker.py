"""Asking the graph for something, and saying what it answered."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import run, ui

from mqe_core.console.link import Link
from mqe_core.files.bounded import shortened

_MOST_BYTES = 400  # of an answer


class Asker:
    """Asks without standing in the way of the page. What was answered stays to be read, and is read out.

    Args:
        show: brings the page up to date.
    """

    def __init__(self, link: Link, show: Callable[[], None]) -> None:
        self._link, self._show = link, show
        self._answer: ui.label | None = None

    def build(self) -> None:
        """The line where answers stand."""
        self._answer = ui.label("").classes("answer").props('role="status" aria-live="polite"')

    async def __call__(self, act: str, text: str = "") -> bool:
        """Whether it was done."""
        try:
            answer, done = str(await run.io_bound(self._link.do, act, text)), True
        except (ValueError, RuntimeError, OSError) as error:
            answer, done = str(error), False
        self.say(answer, is_done=done)
        self._show()
        return done

    def say(self, words: str, *, is_done: bool) -> None:
        """Show it as the newest answer."""
        assert self._answer is not None  # built
        self._answer.set_text(f"{'✓' if is_done else '✕'} {shortened(words, _MOST_BYTES)}")
        self._answer.classes(add="" if is_done else "refused", remove="refused" if is_done else "")
