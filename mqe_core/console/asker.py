"""Asking the graph for something, and saying what it answered."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import run, ui

from mqe_core.console.link import Link


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
            answer, done = await run.io_bound(self._link.do, act, text), True
        except (ValueError, RuntimeError, OSError) as error:
            answer, done = str(error), False
        assert self._answer is not None
        self._answer.set_text(f"{'✓' if done else '✕'} {answer}")
        self._answer.classes(add="" if done else "refused", remove="refused" if done else "")
        self._show()
        return done
