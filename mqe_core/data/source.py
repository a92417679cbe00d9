"""What a reader hands to the importer: episodes that can each be loaded on its own, and what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mqe_core.data.episode import Episode, Skipped


@dataclass(frozen=True)
class EpisodeTask:
    """One episode to load.

    `load` reads and checks it, in any thread. ValueError, with the reason, where the episode cannot be used.
    `share` is how much of the source's data lies behind with this episode, 0 to 1; None where the number of episodes
    tells that as well.
    """

    name: str
    load: Callable[[], Episode]
    share: float | None = None


class Source(Protocol):
    """A data set in one published format. Episodes come in an order that depends on nothing but the data."""

    format: str

    def is_empty(self) -> bool:
        """Whether nothing of this format was found at the path."""

    def num_episodes(self) -> int | None:
        """How many episodes there should be, for the progress bar; None where the data does not say."""

    def tasks(self) -> Iterator[EpisodeTask | Skipped]:
        """All episodes in order; between them what is already known to be lost."""

    def why_not_read(self, file: Path) -> str | None:
        """Why this file below the path holds nothing for the import; None where it was read."""

    def domain(self) -> str:
        """What the images show, one of `mqe_core.policy.domain.DOMAINS`."""


def no_camera(found: Sequence[str], expected: str) -> str:
    """What is wrong with an episode whose images all stand under other keys than `expected`."""
    return (
        f"no camera under a known key ({expected}); keys with images: {', '.join(found)}; say which is meant with "
        f"--camera {found[0]}"
    )


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
