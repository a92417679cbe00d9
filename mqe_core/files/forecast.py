"""Whether work that goes on will have room on its disk, judged from its first parts."""

from __future__ import annotations

from pathlib import Path

from mqe_core.files.disk import WriteError, free_bytes

_FIRST_PARTS = 8  # after so many, and whenever they have doubled
_CLEARLY = 1.5  # times the room: the parts to come may be smaller than those that were


class Forecast:
    """Judges while parts of the work are done. WriteError, with both figures, where the rest clearly has no room.

    Args:
        out: where the work is written.
        remedy: what makes it smaller, if anything does.
    """

    def __init__(self, out: Path, remedy: str = "") -> None:
        self._out = out
        self._remedy = remedy
        self._bytes = 0
        self._parts = 0

    def add(self, num_bytes: int, share: float | None) -> None:
        """Note a part that takes so many bytes; with it `share` of the work is done, 0 to 1, or nobody knows."""
        self._bytes += num_bytes
        self._parts += 1
        if share and self._parts >= _FIRST_PARTS and (self._parts & (self._parts - 1)) == 0:
            self._judge(share)

    def _judge(self, share: float) -> None:
        whole, (free, there) = self._bytes / share, free_bytes(self._out)
        if whole - self._bytes > _CLEARLY * free:
            raise WriteError(
                f"{self._out} would take about {whole / 1e6:.0f} MB, and {(free + self._bytes) / 1e6:.0f} MB were free "
                f"at {there}; {self._remedy}free some space, or choose another place"
            )
