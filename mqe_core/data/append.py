"""What a store is added to with: whether episodes are new to it, and the part that they become."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.episode import EncodedEpisode, Skipped
from mqe_core.data.store import layout
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.files import json_bytes
from mqe_core.data.store.metadata import read_head
from mqe_core.data.store.parts import read_parts, why_apart
from mqe_core.data.store.place import APPEND_LOCK
from mqe_core.files.disk import write_atomically
from mqe_core.files.lock import FileLock

log = logging.getLogger(__name__)


class Addition:
    """One that is to be made to the store in folder `path`, while nobody else makes one (`adding_to`).

    Attributes:
        store: as it was before.
        part: the new folder inside it that the addition is written to.
    """

    def __init__(self, path: Path) -> None:
        self.store = EpisodeStore.open(path)
        self.part = path / layout.part_folder(_last_number(path) + 1)
        self._numbers = {name: number for number, name in enumerate(self.store.names)}

    def require_alike(self, head: Mapping[str, object], rules: Mapping[str, object]) -> None:
        """ValueError where what is added, by its `head`, cannot be a part of the store. Other rules are told only."""
        if why := why_apart(self.store.metadata, {**head, "resize_rule": images.RESIZE_RULE}):
            raise ValueError(f"{self.store.path} cannot be added to: {why} in the store; import into one of its own")
        its = self.store.metadata.get("rules", rules)
        if json_bytes(its) != json_bytes(rules):
            log.warning("%s: its episodes were made by other options: %s", self.store.path, its)

    def judge(self, episode: EncodedEpisode | Skipped) -> EncodedEpisode | Skipped:
        """The episode, or why it is not added: the store has it. ValueError where it has another one of its name."""
        number = self._numbers.get(episode.name) if isinstance(episode, EncodedEpisode) else None
        if number is None or isinstance(episode, Skipped):
            return episode
        end = int(self.store.episode_ends[number])
        start = int(self.store.episode_starts[number])
        states, actions = self.store.states[start:end], self.store.actions[start : end - 1]
        if np.array_equal(states, episode.states) and np.array_equal(actions, episode.actions):
            return Skipped(episode.name, f"it is in {self.store.path} already", 0)
        raise ValueError(
            f"{self.store.path} holds another episode {episode.name!r}: where they are two, import from a folder "
            "above, so that their names differ"
        )

    def finish(self) -> None:
        """The part, which lies whole in its folder, becomes one of the store's, in one step."""
        path = self.store.path
        head, (_, parts) = read_head(path), read_parts(path)
        own = head["own"] if head["schema"] == layout.SCHEMA_OF_PARTS else head
        _, [(_, added)] = read_parts(self.part)
        fingerprints = {
            layout.OWN if folder == path else folder.name: metadata["fingerprint"] for folder, metadata in parts
        }
        fingerprints[self.part.name] = added["fingerprint"]
        write_atomically(path / layout.METADATA_FILE, json_bytes(layout.metadata_of_parts(fingerprints, own)))


@contextmanager
def adding_to(path: Path) -> Iterator[Addition]:
    """An addition to the store in folder `path`. ValueError where there is none, or another process adds to it."""
    read_head(path)
    lock = FileLock(path / APPEND_LOCK, path)
    try:
        for half_written in path.glob(f".{layout.METADATA_FILE}.*.tmp"):  # of an addition that was killed
            half_written.unlink()
        yield Addition(path)
    finally:
        lock.remove()


def _last_number(path: Path) -> int:
    """Of the parts that the store has, 0 where there is none but its own folder."""
    return max((layout.number_of_part(folder.name) for folder, _ in read_parts(path)[1] if folder != path), default=0)
