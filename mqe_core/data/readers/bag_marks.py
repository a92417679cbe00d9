"""The episodes that an operator marked in a recording: what of it counts, and what belongs together.

In a recording with marks only what lies in an episode that was kept counts. What lies there is one episode, whoever
moved the arm: a policy's commands and those of the operator who took over, and his before and after he let go. It is
joined where the arm stood still meanwhile, so that one target leads to the next by a step.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from mqe_core import ros_names
from mqe_core.data.readers.bag_episodes import MAX_FRAMES, Stretch
from mqe_core.data.readers.bag_messages import Received
from mqe_core.robot.episode_marks import EpisodeBook, MarkedEpisode
from mqe_core.robot.geometry import rotation_vector
from mqe_core.robot.spec import RobotSpec

TOPIC = ros_names.EPISODE_STATUS
_CONTINUED = re.compile(r"-\d+$")
_ROUNDING = 1e-3


class Marks:
    """The marks of some recordings. `take` is given their messages on TOPIC, each recording's in its order."""

    def __init__(self, files: Sequence[Path]) -> None:
        folders = {file.parent for file in files}
        self._recordings = {file: _first_part(file.parent, folders) for file in files}
        self._books: dict[Path, EpisodeBook] = defaultdict(EpisodeBook)

    def take(self, file: Path, got: Received) -> None:
        """Note one. What does not fit, in a recording that is damaged, is passed over."""
        message = got.message
        if message.mark:
            with suppress(ValueError):
                self._books[self._recordings[file]].mark(message.mark, message.label, got.time)

    def of(self, file: Path) -> Sequence[MarkedEpisode] | None:
        """The episodes of the file's recording that were kept; None where it has no marks."""
        book = self._books.get(self._recordings[file])
        if book is None or not book.episodes:
            return None
        return [episode for episode in book.episodes if not episode.is_discarded]


def _first_part(folder: Path, folders: set[Path]) -> Path:
    """The folder in which the recording begins, of a long one's continuation."""
    first = folder.with_name(_CONTINUED.sub("", folder.name)) if folder.name else folder
    return first if first in folders else folder


class MarkedStretches:
    """Makes of the stretches of a recording those of its marked episodes.

    Args:
        episodes: that were kept; None: it has no marks, and every stretch is an episode.
    """

    def __init__(self, episodes: Sequence[MarkedEpisode] | None, spec: RobotSpec) -> None:
        self.outside = 0  # frames that lie in none of them
        self._episodes, self._control = episodes, spec.control
        self._held: tuple[MarkedEpisode, Stretch] | None = None

    def take(self, stretch: Stretch) -> Iterator[Stretch]:
        """Yields what is whole. Stretches come in the order of their ends."""
        if self._episodes is None:
            yield stretch
            return
        inside = 0
        for episode in self._episodes:
            end = np.inf if episode.stop is None else episode.stop
            first, last = np.searchsorted(stretch.received, [episode.start, end])
            inside += int(last - first)
            if last > first:
                yield from self._add(episode, stretch.part(int(first), int(last)))
        self.outside += len(stretch.received) - inside

    def end(self) -> Iterator[Stretch]:
        """Yields what is left."""
        if self._held is not None:
            (episode, stretch), self._held = self._held, None
            stretch.label = episode.label
            if len(stretch.states) > 1:
                yield stretch

    def _add(self, episode: MarkedEpisode, piece: Stretch) -> Iterator[Stretch]:
        if self._held is not None and self._held[0] is episode:
            held = self._held[1]
            # A policy that is taken over asks once or twice more; from then on the frames are the operator's.
            held = held.part(0, int(np.searchsorted(held.received, piece.received[0])))
            if held.states and self._leads_to(held, piece) and len(held.states) + len(piece.states) <= MAX_FRAMES:
                self._held = (episode, held.joined(piece))
                return
            self._held = (episode, held)
        yield from self.end()
        self._held = (episode, piece)

    def _leads_to(self, before: Stretch, after: Stretch) -> bool:
        """Whether one step leads from the last target of the one to the first of the other."""
        last, first = before.targets[-1], after.targets[0]
        moved = np.abs(first[:3, 3] - last[:3, 3]).max()
        turned = np.abs(rotation_vector(first[:3, :3] @ last[:3, :3].T)).max()
        control = self._control
        return bool(
            moved <= control.max_translation_step_m + _ROUNDING and turned <= control.max_rotation_step_rad + _ROUNDING
        )
