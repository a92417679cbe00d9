"""BagWriter: messages into MCAP bags of bounded size. A disk that is full ends the recording, not the program."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from mqe_core.bag_folders import numbered

logger = logging.getLogger(__name__)


class BagWriter:
    """Writes into `folder`, and where that has `max_bytes` of messages, into `folder-2`, `folder-3` and so on.

    Each is a bag of its own, closed with index and metadata when the next one begins, and begins with the newest
    message of each latched topic. After an error of the disk (full, lost) nothing more is written, and `failure`
    says why; what lies in the bag until then stays readable. Safe to call from several threads.

    Args:
        connections: (topic, message type) of everything that will be written.
        types: rosbags' typestore that knows these types.
        latched: topics that are published once and hold until the next message.
        make_writer: rosbags' Writer, or something like it.
    """

    def __init__(
        self,
        folder: Path,
        connections: Sequence[tuple[str, str]],
        types,
        max_bytes: int,
        latched: Collection[str] = (),
        make_writer: Callable = Writer,
    ) -> None:
        if max_bytes < 1:
            raise ValueError(f"the size of a bag must be at least 1 byte, got {max_bytes}")
        self.failure = ""
        self.counts: Counter[str] = Counter({topic: 0 for topic, _ in connections})
        self._folder, self._topics, self._types = folder, connections, types
        self._max_bytes, self._make_writer = max_bytes, make_writer
        self._lock = threading.Lock()
        self._newest: dict[str, bytes] = dict.fromkeys(latched, b"")
        self._bags = 0
        self._begin()

    def write(self, topic: str, time_ns: int, message: bytes) -> None:
        """One serialized message. Never raises for what the disk does."""
        with self._lock:
            if self._writer is None:
                return
            try:
                if self._bytes >= self._max_bytes:
                    self._writer.close()
                    self._begin()
                    for latched, last in self._newest.items():
                        if last:
                            self._writer.write(self._connections[latched], time_ns, last)
                self._writer.write(self._connections[topic], time_ns, message)
            except (OSError, WriterError) as error:
                self._give_up(error)
                return
            if topic in self._newest:
                self._newest[topic] = message
            self._bytes += len(message)
            self.counts[topic] += 1

    def close(self) -> None:
        """Index and metadata of the last bag; safe to call again."""
        with self._lock:
            if self._writer is not None:
                try:
                    self._writer.close()
                    self._writer = None
                except (OSError, WriterError) as error:
                    self._give_up(error)

    def _begin(self) -> None:
        self._bags += 1
        self._writer = self._make_writer(
            numbered(self._folder, self._bags), version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._types) for topic, kind in self._topics
        }
        self._bytes = 0

    def _give_up(self, error: Exception) -> None:
        self.failure = f"recording stopped: {error}"
        logger.error(self.failure)
        writer, self._writer = self._writer, None
        with contextlib.suppress(Exception):  # it fails on the same disk
            writer.abort()
