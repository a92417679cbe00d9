"""The episodes of one recording of the graph: what an operator marked in it, and its pictures by their number.

It may be under way, broken off or damaged: then it has what can be read, and says what is wrong.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mqe_core import ros_names
from mqe_core.data.readers.bag_index import BagIndex, Place
from mqe_core.data.readers.bag_messages import IMAGE_TOPICS, pixels
from mqe_core.robot.arrays import Images
from mqe_core.robot.episode_marks import EpisodeBook, MarkedEpisode

_TOPICS = (*IMAGE_TOPICS, ros_names.EPISODE_STATUS)


@dataclass(frozen=True)
class Recorded:
    """An episode that was recorded.

    Attributes:
        number: as the recorder counts them, from 1; 0: all of a recording in which none was marked.
        seconds: how long it is, as far as it can be told.
        pictures: how many there are of it.
        label: what it shows, in words; may be empty.
        is_kept: it has ended and was not discarded.
        is_open: it has not ended.
    """

    number: int
    seconds: float
    pictures: int
    label: str = ""
    is_kept: bool = True
    is_open: bool = False


@dataclass(frozen=True)
class Contents:
    """What a recording holds; `problem` is why it may be less than was recorded, in words, or empty."""

    episodes: tuple[Recorded, ...]
    problem: str = ""


class RecordedBags:
    """One recording, in one or several bags. Every question reads on what has come since the last one.

    Args:
        files: its .mcap files, in their order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self._indexes = [BagIndex(file, _TOPICS) for file in files]

    def contents(self) -> Contents:
        """OSError where a file has gone."""
        self._refresh()
        found = [self._recorded(episode) for episode in self._episodes()]
        return Contents(tuple(found), self._problem())

    def picture(self, number: int, picture: int) -> Images:
        """(H, W, 3) uint8: the picture of the episode `number`, counted from 0; from the end where it is negative.

        ValueError where there is none, or it cannot be read; OSError as `contents`.
        """
        self._refresh()
        episode = next((episode for episode in self._episodes() if episode.number == number), None)
        if episode is None:
            raise ValueError(f"the recording has no episode {number}")
        pictures = self._pictures(episode)
        if not -len(pictures) <= picture < len(pictures):
            raise ValueError(f"episode {number} has {len(pictures)} pictures, there is none of number {picture}")
        index, topic, place = pictures[picture]
        return pixels(index.message(topic, place))

    def _refresh(self) -> None:
        for index in self._indexes:
            index.refresh()

    def _episodes(self) -> list[MarkedEpisode]:
        """As they were marked; where none was, all of it as number 0."""
        book, topic = EpisodeBook(), ros_names.EPISODE_STATUS
        for index in self._indexes:
            for place in index.places[topic]:
                with suppress(ValueError):  # damaged, or a mark that does not fit
                    message = index.message(topic, place)
                    if message.mark:
                        book.mark(message.mark, message.label, place.time)
        if book.episodes:
            return book.episodes
        times = [place.time for index in self._indexes for one in _TOPICS for place in index.places[one]]
        return [MarkedEpisode(0, min(times), max(times))] if times else []

    def _recorded(self, episode: MarkedEpisode) -> Recorded:
        pictures = self._pictures(episode)
        end = episode.stop if episode.stop is not None else pictures[-1][2].time if pictures else episode.start
        return Recorded(
            number=episode.number,
            seconds=max(0.0, end - episode.start),
            pictures=len(pictures),
            label=episode.label,
            is_kept=episode.stop is not None and not episode.is_discarded,
            is_open=episode.stop is None,
        )

    def _pictures(self, episode: MarkedEpisode) -> list[tuple[BagIndex, str, Place]]:
        """The camera's, on the first topic that has some."""
        for topic in IMAGE_TOPICS:
            found = [(index, topic, place) for index in self._indexes for place in index.places[topic]]
            if found:
                times = [place.time for _, _, place in found]
                first = bisect_left(times, episode.start)
                return found[first : len(found) if episode.stop is None else bisect_right(times, episode.stop)]
        return []

    def _problem(self) -> str:
        damage = [f"{file.name} is {index.damage}" for file, index in zip(self.files, self._indexes) if index.damage]
        if damage:
            return "; ".join(damage)
        if not self._indexes[-1].is_closed:
            return "it is under way, or its recorder was killed: what stands in it so far can be read"
        return ""
