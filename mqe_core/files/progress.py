"""A bar for what takes long; in a file, where nobody sees it move, a line every half a minute."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

_LINE_S = 30.0


class Progress(tqdm):  # type: ignore[misc]
    """tqdm's bar on stderr, with tqdm's arguments."""

    disable: bool

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        file = keys.get("file") or sys.stderr
        if not _is_terminal(file):
            keys["mininterval"] = _LINE_S
            keys["miniters"] = 1  # else tqdm guesses how many steps a line takes, and its first guess may be an hour
        super().__init__(*arguments, **keys)

    @staticmethod
    def status_printer(file: TextIO) -> Callable[[str], None]:
        """How tqdm writes its newest state."""
        if _is_terminal(file):
            bar: Callable[[str], None] = tqdm.status_printer(file)
            return bar

        def line(state: str) -> None:
            if state.strip():
                file.write(state.strip() + "\n")
                file.flush()

        return line

    def close(self) -> None:
        """The end: in a file a last line, where there is news."""
        if self.disable or _is_terminal(self.fp):
            super().close()
            return
        if self.n != self.last_print_n:
            self.refresh()
        self.leave, self.disable = False, True  # nothing is to be erased, and no line left open
        self._decr_instances(self)

    def moveto(self, n: int) -> None:
        """To the line of another bar; a file has only one."""
        if _is_terminal(self.fp):
            super().moveto(n)


def _is_terminal(file: Any) -> bool:
    return bool(getattr(file, "isatty", lambda: False)())
