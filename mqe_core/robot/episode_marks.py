"""What an operator says of a recording's episodes: where each begins and ends, that one is none, and what it shows.

The recorder keeps the book and writes each mark into the recording; an import reads them there.
"""

from __future__ import annotations

from dataclasses import dataclass

START, STOP, DISCARD, LABEL = "start", "stop", "discard", "label"
MARKS: dict[str, str] = {
    START: "an episode begins",
    STOP: "it ends, and is kept",
    DISCARD: "the newest episode is none, whether it has ended or not",
    LABEL: "what the newest episode shows, in words",
}
MOST_LABEL_BYTES = 1000


@dataclass
class MarkedEpisode:
    """One episode: from `start` to `stop` (None: not ended), on the clock of whoever keeps the book, s."""

    number: int
    start: float
    stop: float | None = None
    label: str = ""
    is_discarded: bool = False


class EpisodeBook:
    """The episodes of one recording, in their order."""

    def __init__(self) -> None:
        self.episodes: list[MarkedEpisode] = []

    @property
    def newest(self) -> MarkedEpisode | None:
        return self.episodes[-1] if self.episodes else None

    @property
    def is_open(self) -> bool:
        """Whether an episode has begun and not ended."""
        return self.newest is not None and self.newest.stop is None

    @property
    def kept(self) -> int:
        """How many have ended and were not discarded."""
        return sum(not episode.is_discarded and episode.stop is not None for episode in self.episodes)

    @property
    def discarded(self) -> int:
        return sum(episode.is_discarded for episode in self.episodes)

    def mark(self, mark: str, label: str, now: float) -> str:
        """Note one of MARKS; returns what was done. ValueError, changing nothing, where it cannot be."""
        newest = self.newest
        if mark == START:
            if self.is_open:
                raise ValueError(f"episode {len(self.episodes)} is being recorded: stop or discard it first")
            self.episodes.append(MarkedEpisode(len(self.episodes) + 1, now))
            return f"episode {len(self.episodes)} begins"
        if mark not in MARKS:
            raise ValueError(f"{mark[:20]!r} is no mark of an episode; they are {', '.join(MARKS)}")
        if newest is None or newest.is_discarded:
            raise ValueError(f"there is no episode to {mark}: start one (mqe episode start)")
        if mark == STOP:
            if newest.stop is not None:
                raise ValueError(f"no episode is being recorded; episode {newest.number} has ended already")
            newest.stop = now
            return f"episode {newest.number} is kept, {newest.stop - newest.start:.1f} s"
        if mark == DISCARD:
            newest.stop, newest.is_discarded = newest.stop or now, True
            return f"episode {newest.number} is discarded"
        require_label(label)
        newest.label = label
        return f"episode {newest.number} is labelled {label!r}"


def require_label(label: str) -> None:
    """ValueError where it is none: empty, of several lines, or too long."""
    length = len(label.encode("utf-8", "surrogateescape"))
    if length > MOST_LABEL_BYTES:
        raise ValueError(f"a label of {length} bytes, at most {MOST_LABEL_BYTES} are taken")
    if not label.strip() or not label.isprintable():
        raise ValueError("a label needs some words, in one line")
