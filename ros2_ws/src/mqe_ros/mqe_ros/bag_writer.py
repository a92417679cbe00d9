"""BagWriter: messages into MCAP bags of bounded size. A disk that is full ends the recording, not the program."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from mqe_core.files.bag_folders import numbered

logger = logging.getLogger(__name__)

_MCAP = b"\x89MCAP0\r\n"  # as every such file begins


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
        make_writer: Callable[..., Writer] = Writer,
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
        self._writer: Writer | None = None
        self._connections: dict[str, Any] = {}
        self._bytes = 0
        self._file, self._opened = folder, _identity(folder)  # the bag's file that is open, and which one it is
        self._begin()

    def write(self, topic: str, time_ns: int, message: bytes) -> None:
        """One serialized message. Never raises for what the disk does."""
        with self._lock:
            writer = self._writer
            if writer is None:
                return
            try:
                if self._bytes >= self._max_bytes:
                    writer.close()
                    writer = self._begin()
                    for latched, last in self._newest.items():
                        if last:
                            writer.write(self._connections[latched], time_ns, last)
                writer.write(self._connections[topic], time_ns, message)
            except (OSError, WriterError) as error:
                self._give_up(error)
                return
            if topic in self._newest:
                self._newest[topic] = message
            self._bytes += len(message)
            self.counts[topic] += 1

    def check(self) -> None:
        """To be called now and then: whether what is written can still be found. A file that was deleted, moved or
        replaced takes every message, and keeps none.
        """
        with self._lock:
            if self._writer is None:
                return
            if _identity(self._file) != self._opened:
                self._give_up(OSError(f"{self._file} was deleted, moved or replaced; what it held is lost"))
            elif not _begins_as_mcap(self._file):
                self._give_up(OSError(f"{self._file} was emptied or overwritten; what it held is lost"))

    def close(self) -> None:
        """Index and metadata of the last bag; safe to call again."""
        with self._lock:
            if self._writer is not None:
                try:
                    self._writer.close()
                    self._writer = None
                except (OSError, WriterError) as error:
                    self._give_up(error)

    def _begin(self) -> Writer:
        """The next bag."""
        self._bags += 1
        folder = numbered(self._folder, self._bags)
        self._writer = writer = self._make_writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.open()
        self._connections = {
            topic: writer.add_connection(topic, kind, typestore=self._types) for topic, kind in self._topics
        }
        self._bytes = 0
        self._file = folder / f"{folder.name}.mcap"
        self._opened = _identity(self._file)
        return writer

    def _give_up(self, error: Exception) -> None:
        self.failure = f"recording stopped: {error}"
        logger.error(self.failure)
        writer, self._writer = self._writer, None
        with contextlib.suppress(Exception):  # it fails on the same disk
            if writer is not None:
                writer.abort()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies there; None where there is none, or none can be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _begins_as_mcap(path: Path) -> bool:
    """Or has not been written to. What is written to a file that was emptied comes behind a hole of zeros."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_MCAP))
    except OSError:
        return False
    return begin in (b"", _MCAP)
