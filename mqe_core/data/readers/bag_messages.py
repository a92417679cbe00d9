"""The messages of an MCAP bag, decoded by the types that stand in the bag itself; ROS is not needed.

Bags are read as a stream. So one whose recorder was killed gives what had been written, and then says that it ends
early.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mqe_core import images, ros_names
from mqe_core.data.source import natural_key
from mqe_core.data.source_files import Walk
from mqe_core.files.bag_folders import continuations
from mqe_core.robot.arrays import Images

IMAGE_TOPICS = (ros_names.IMAGE, ros_names.COMPRESSED_IMAGE)  # a recording has one of them
_KEPT_IMAGES = 90  # of a topic, the newest ones; a command is computed from an image that is at most a second old

_TOGETHER_S = 1.0  # a camera's newest image is at most so much older than the policy's own
_PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

_NO_STAMP = (0, 0)  # of a driver that does not set it

RosMessage = Any  # or a part of one: its class is made at run time, from the definition in the bag
Stamp = tuple[int, int]  # s, ns


class Received(NamedTuple):
    """One message and when the recorder got it, s; `byte` is how far its file has been read."""

    time: float
    topic: str
    message: RosMessage
    byte: int


def bag_files(root: Path) -> list[Path]:
    """All .mcap files at or below `root`, and of `root-2`, `root-3` …, in which a long recording goes on."""
    if root.is_file():
        return [root] if root.suffix == ".mcap" else []

    def in_order(paths: Iterable[Path]) -> list[Path]:
        return sorted(paths, key=lambda path: natural_key(path.as_posix()))

    return [
        file
        for part in (root, *continuations(root))
        for file in in_order(path for path in Walk(part).files() if path.suffix == ".mcap")
    ]


class IncompleteBagError(ValueError):
    """Why a bag gives less than was recorded. It is raised after everything that can be read was given."""


def messages(file: Path, topics: Sequence[str], pictures: set[str] | None = None) -> Iterator[Received]:
    """The messages on `topics`, in the order in which they were written. `pictures` gains every topic of images.

    IncompleteBagError at the end, where the file was never closed or is damaged.
    """
    from mcap.records import Channel, Message, Schema, Statistics
    from mcap.stream_reader import StreamReader
    from mcap_ros2.decoder import DecoderFactory

    factory = DecoderFactory()
    decoders: dict[int, Callable[[bytes], RosMessage]] = {}  # by channel
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    counts: Counter[int] = Counter()  # messages per channel
    stated_counts: Counter[int] | None = None
    size = file.stat().st_size
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, validate_crcs=True, record_size_limit=size).records:
                # A description stands with its messages, and again at the end.
                if isinstance(record, Schema) and schemas.setdefault(record.id, record) != record:
                    raise ValueError(f"two descriptions of schema {record.id}")
                if isinstance(record, Channel) and channels.setdefault(record.id, record) != record:
                    raise ValueError(f"two descriptions of channel {record.id}")
                if isinstance(record, Statistics):
                    stated_counts = Counter(record.channel_message_counts)
                if not isinstance(record, Message):
                    continue
                counts[record.channel_id] += 1
                channel = channels[record.channel_id]
                if pictures is not None and schemas[channel.schema_id].name in _PICTURES:
                    pictures.add(channel.topic)
                if channel.topic not in topics:
                    continue
                if channel.id not in decoders:
                    decoder = factory.decoder_for(channel.message_encoding, schemas[channel.schema_id])
                    if decoder is None:
                        raise ValueError(f"messages encoded as {channel.message_encoding!r}")
                    decoders[channel.id] = decoder
                message = decoders[channel.id](record.data)
                yield Received(1e-9 * record.log_time, channel.topic, message, stream.tell())
        except Exception as error:  # whatever the parsers raise on bytes that are none of theirs
            raise IncompleteBagError(_where_it_ends(stream.tell(), size, error)) from error
    if stated_counts not in (None, counts):
        raise IncompleteBagError(
            f"damaged: {sum(counts.values())} messages can be read, {sum(stated_counts.values())} were written"
        )


def _where_it_ends(byte: int, size: int, error: Exception) -> str:
    from mcap.exceptions import RecordLengthLimitExceeded

    if byte >= size or isinstance(error, RecordLengthLimitExceeded):
        return (
            "ends early: it breaks off, as where its recorder was killed or it was not copied whole; what stands "
            "before that is whole"
        )
    return (
        f"ends early: damaged before byte {byte:,} of {size:,} ({type(error).__name__}: {error}); nothing after that "
        "is read"
    )


def stated(diagnostics: RosMessage, key: str) -> set[str]:
    """What a message of /diagnostics states under `key`."""
    return {value.value for status in diagnostics.status for value in status.values if value.key == key}


def stamp(time: RosMessage) -> Stamp:
    """Of a builtin_interfaces/Time."""
    return time.sec, time.nanosec


def seconds(time: RosMessage) -> float:
    """The same in seconds."""
    return float(time.sec + 1e-9 * time.nanosec)


class _Image:
    """One of a recording."""

    def __init__(self, topic: str, message: RosMessage, number: int, time: float) -> None:
        self.topic = topic
        self.message = message
        self.number = number  # in the order of receipt
        self.time = time  # of receipt, s
        self.stamp = stamp(message.header.stamp)

    @cached_property
    def crc32(self) -> int:
        return zlib.crc32(self.message.data)


class NewestImages:
    """The newest images of a recording, and which of them a command was computed from.

    A command names its image by a CRC-32 of the bytes, so it does not matter what the camera stamps. Of images with the
    same bytes it is the newest. Commands of earlier versions name none. For them the stamp tells it, where it can: a
    policy node drops an image whose stamp is that of the one before, so of such a row it is the first. Several images
    without a stamp, or with one that came back later, could each be meant. None is guessed.
    """

    def __init__(self, topics: Sequence[str] = IMAGE_TOPICS) -> None:
        self.topics = topics  # on which the policy's images may be
        self.absent = 0  # commands whose image is not in the recording
        self.by_stamp = 0  # commands that name none
        self.untold = 0  # of these, commands whose image could be one of several
        self._count = 0
        self._images: dict[str, deque[_Image]] = defaultdict(lambda: deque(maxlen=_KEPT_IMAGES))

    def add(self, got: Received) -> None:
        """Note one, a sensor_msgs/Image or CompressedImage."""
        self._count += 1
        self._images[got.topic].append(_Image(got.topic, got.message, self._count, got.time))

    def of(self, command: RosMessage) -> RosMessage | None:
        """The image that the command was computed from; None where it is not there, or cannot be told."""
        own = self._own(command)
        return None if own is None else own.message

    def beside(self, command: RosMessage, cameras: Sequence[str]) -> list[RosMessage] | None:
        """The image of each of these topics that was the newest when the command's own one came; None where one lacks.

        Of the topic that holds the command's own one it is that one. Of no topics likewise.
        """
        own = self._own(command)
        if own is None:
            return None
        found = [own if own.topic == topic else self._newest_before(own, topic) for topic in cameras or (own.topic,)]
        return None if None in found else [image.message for image in found if image is not None]

    def newest(self, time: float, cameras: Sequence[str], max_age_s: float) -> list[RosMessage] | None:
        """The newest image of each of these topics, received at most `max_age_s` before `time` (s); None where one
        lacks. Of no topics that of the first one that has images.
        """
        topics = cameras or [topic for topic in self.topics if self._images.get(topic)][:1]
        found = [self._images[topic][-1] for topic in topics if self._images.get(topic)]
        if not found or len(found) < len(topics) or any(time - image.time > max_age_s for image in found):
            self.absent += 1
            return None
        return [image.message for image in found]

    def _newest_before(self, own: _Image, topic: str) -> _Image | None:
        earlier = [image for image in self._images[topic] if image.number < own.number]
        return earlier[-1] if earlier and own.time - earlier[-1].time <= _TOGETHER_S else None

    def _own(self, command: RosMessage) -> _Image | None:
        named = getattr(command, "image_crc32", 0)
        if not named:
            self.by_stamp += 1
            return self._taken_at(stamp(command.observation_stamp))
        for kept in self._images.values():
            for image in reversed(kept):
                if image.crc32 == named:
                    return image
        self.absent += 1
        return None

    def _taken_at(self, wanted: Stamp) -> _Image | None:
        """The image with exactly that stamp, on the first topic that has images."""
        before, rows = None, []
        for image in next((self._images[topic] for topic in self.topics if topic in self._images), ()):
            if image.stamp == wanted and (image.stamp != before or wanted == _NO_STAMP):
                rows.append(image)
            before = image.stamp
        if len(rows) > 1 and any(bytes(image.message.data) != bytes(rows[0].message.data) for image in rows[1:]):
            self.untold += 1
            return None
        if not rows:
            self.absent += 1
            return None
        return rows[0]


def told_by_stamps(commands: int) -> str:
    """What to tell of so many commands that name no image."""
    return (
        f"{commands} commands do not name their images, as those of earlier versions do not: these are identified by "
        "the camera's stamps"
    )


def pixels(message: RosMessage) -> Images:
    """(H, W, 3) uint8 RGB of a sensor_msgs/Image or CompressedImage."""
    if hasattr(message, "format"):
        return images.decode(bytes(message.data), images.FRAME_PIXELS)
    return images.unpack(message.height, message.width, message.encoding, message.step, message.data)
