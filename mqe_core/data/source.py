"""What a reader hands to the importer: episodes that can each be loaded on its own, and what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mqe_core.data.episode import Episode, Skipped


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to load.

    `load` reads and checks it in any thread; it raises ValueError with the reason where the episode is
    unusable.
    """

    name: str
    load: Callable[[], Episode]


class Source(Protocol):
    """A data set in one published format. Episodes come in an order that depends on nothing but the data."""

    format: str

    def is_empty(self) -> bool:
        """Whether nothing of this format was found at the path."""

    def num_episodes(self) -> int | None:
        """How many episodes there should be, for the progress bar; None where the data does not say."""

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        """All episodes in order, with what is already known to be lost in between."""

    def domain(self) -> str:
        """Where the pixels come from: "real" or "sim"."""


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sort key that counts: im_2 before im_10."""
    key: list[tuple[int, int | str]] = []
    digits = ""
    for character in text + "\0":
        if character.isascii() and character.isdigit():
            digits += character
            continue
        if digits:
            key.append((0, int(digits)))
            digits = ""
        key.append((1, character))
    return key
