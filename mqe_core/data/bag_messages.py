"""The messages of an MCAP bag, decoded by the types that stand in the bag itself; ROS is not needed.

Bags are read as a stream, so one whose recorder was killed gives what had been written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

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

    later = in_order(path for path in root.parent.glob(f"{root.name}-*") if path.name[len(root.name) + 1 :].isdigit())
    return [file for part in (root, *later) for file in in_order(part.rglob("*.mcap"))]


def messages(file: Path, topics: Sequence[str]) -> Iterator[Received]:
    """In the order in which they were written, up to where the file ends or is damaged."""
    from mcap.exceptions import McapError
    from mcap.reader import NonSeekingReader
    from mcap_ros2.decoder import DecoderFactory

    factory, decoders = DecoderFactory(), {}
    with file.open("rb") as stream:
        try:
            for schema, channel, message in NonSeekingReader(stream).iter_messages(topics=topics, log_time_order=False):
                if channel.id not in decoders:
                    decoders[channel.id] = factory.decoder_for(channel.message_encoding, schema)
                yield Received(1e-9 * message.log_time, channel.topic, decoders[channel.id](message.data))
        except (McapError, EOFError):  # its recorder was killed: what was written before is whole
            return


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
    if message.encoding not in ("rgb8", "bgr8"):
        raise ValueError(f"image encoding {message.encoding!r}; expected rgb8 or bgr8")
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    image = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    return image if message.encoding == "rgb8" else image[:, :, ::-1].copy()
