"""The messages of an MCAP bag, decoded by the types that stand in the bag itself; ROS is not needed.

Bags are read as a stream, so one whose recorder was killed gives what had been written, and then says that it ends early.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mqe_core import images
from mqe_core.bag_folders import continuations
from mqe_core.data.source import natural_key

_KEPT_IMAGES = 90  # of the newest; a command is computed from one at most a second old

Stamp = tuple[int, int]  # s, ns


class Received(NamedTuple):
    """One message and when the recorder got it, s."""

    time: float
    topic: str
    message: object


def bag_files(root: Path) -> list[Path]:
    """All .mcap files at or below `root`, and those of `root-2`, `root-3` …, in which a long recording goes on."""
    if root.is_file():
        return [root] if root.suffix == ".mcap" else []

    def in_order(paths: Iterable[Path]) -> list[Path]:
        return sorted(paths, key=lambda path: natural_key(path.as_posix()))

    return [file for part in (root, *continuations(root)) for file in in_order(part.rglob("*.mcap"))]


class IncompleteBagError(ValueError):
    """Why a bag gives less than was recorded; raised once everything that can be read was given."""


def messages(file: Path, topics: Sequence[str]) -> Iterator[Received]:
    """In the order in which they were written. IncompleteBagError at the end where the file was never closed or is damaged."""
    from mcap.records import Channel, Message, Schema, Statistics
    from mcap.stream_reader import StreamReader
    from mcap_ros2.decoder import DecoderFactory

    factory, decoders = DecoderFactory(), {}
    described: dict[tuple[type, int], Schema | Channel] = {}  # each stands with its messages and again at the end
    counts, stated_counts = Counter(), None  # messages per channel
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, validate_crcs=True, record_size_limit=size).records:
                if (
                    isinstance(record, (Schema, Channel))
                    and described.setdefault((type(record), record.id), record) != record
                ):
                    raise ValueError(f"two descriptions of {type(record).__name__.lower()} {record.id}")
                if isinstance(record, Statistics):
                    stated_counts = Counter(record.channel_message_counts)
                if not isinstance(record, Message):
                    continue
                counts[record.channel_id] += 1
                channel = described[Channel, record.channel_id]
                if channel.topic not in topics:
                    continue
                if channel.id not in decoders:
                    decoders[channel.id] = factory.decoder_for(
                        channel.message_encoding, described[Schema, channel.schema_id]
                    )
                yield Received(1e-9 * record.log_time, channel.topic, decoders[channel.id](record.data))
        except Exception as error:  # whatever the parsers raise on bytes that are none of theirs
            raise IncompleteBagError(_where_it_ends(stream.tell(), size, error)) from error
    if stated_counts not in (None, counts):
        raise IncompleteBagError(
            f"damaged: {sum(counts.values())} messages can be read, {sum(stated_counts.values())} were written"
        )


def _where_it_ends(byte: int, size: int, error: Exception) -> str:
    from mcap.exceptions import RecordLengthLimitExceeded

    if byte >= size or isinstance(error, RecordLengthLimitExceeded):
        return "ends early: it breaks off, as where its recorder was killed or it was not copied whole; what stands before that is whole"
    return f"ends early: damaged before byte {byte:,} of {size:,} ({type(error).__name__}: {error}); nothing after that is read"


def stated(diagnostics, key: str) -> set[str]:
    """What a message of /diagnostics states under `key`."""
    return {value.value for status in diagnostics.status for value in status.values if value.key == key}


def stamp(time) -> Stamp:
    return time.sec, time.nanosec


class NewestImages:
    """The newest images of a recording, by the moment each was taken."""

    def __init__(self) -> None:
        self._images: deque[tuple[Stamp, object]] = deque(maxlen=_KEPT_IMAGES)

    def add(self, image) -> None:
        self._images.append((stamp(image.header.stamp), image))

    def taken_at(self, time):
        """The image with exactly that stamp, or None."""
        return next((image for when, image in reversed(self._images) if when == stamp(time)), None)


def pixels(message) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a sensor_msgs/Image."""
    return images.unpack(message.height, message.width, message.encoding, message.step, message.data)
