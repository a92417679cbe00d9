"""Where the messages of an MCAP bag lie, so that one of them is read without the others: also while it is written.

Only the heads of the records are read, and the indexes that stand behind each chunk (the MCAP specification: Chunk,
Message Index). So a bag of gigabytes takes a fraction of a second, and one that grows is read on from where it ended.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from mqe_core.data.readers.bag_messages import RosMessage

if TYPE_CHECKING:
    from mcap.records import Channel, Schema

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # of a record: what it is, and its length
_CHUNK_HEAD = struct.Struct("<QQQ")  # first and last time, and its size when it is unpacked
_INDEX_HEAD = struct.Struct("<HI")  # channel, and the length of what follows
_ENTRY = struct.Struct("<QQ")  # time in ns, and where in the unpacked chunk
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, and two times in ns
_SCHEMA_CODE, _CHANNEL_CODE, _MESSAGE_CODE = 0x03, 0x04, 0x05
_CHUNK, _MESSAGE_INDEX, _DATA_END = 0x06, 0x07, 0x0F
_OPCODES = range(0x01, 0x10)
_MOST_CHUNK_BYTES = 2**28  # ours have 1 MB and one message more
_MOST_INDEX_BYTES = 2**26
_KEPT_CHUNKS = 4


class Place(NamedTuple):
    """Of a message: when it was recorded, s, and where it lies."""

    time: float
    chunk: int
    offset: int


class BagIndex:
    """The places of the messages on `topics` in one .mcap file.

    Attributes:
        places: by topic, in the order in which they were recorded.
        is_closed: its recorder ended it.
        damage: why nothing behind some byte is read; None while all is well. A bag that breaks off is not damaged.
    """

    places: dict[str, list[Place]]
    is_closed: bool
    damage: str | None
    _read_to: int  # byte
    _identity: tuple[int, ...]  # device and number of the file, its size and when it changed

    def __init__(self, file: Path, topics: Collection[str]) -> None:
        self._file, self._topics = file, frozenset(topics)
        self._begin()

    def refresh(self) -> None:
        """Read what has come since the last time. OSError where the file cannot be opened."""
        with self._file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            identity = status.st_dev, status.st_ino, *((status.st_size, status.st_mtime_ns) if self.is_closed else ())
            if identity != self._identity[: len(identity)] or status.st_size < self._read_to:
                self._begin()  # another file has taken its place, perhaps with its number
            self._identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
            if self.damage is None and not self.is_closed:
                try:
                    self._read_on(stream, status.st_size)
                except Exception as error:  # whatever damaged bytes make of the parsers
                    self.damage = f"damaged behind byte {self._read_to:,} ({type(error).__name__}: {error})"

    def message(self, topic: str, place: Place) -> RosMessage:
        """The message of that place. ValueError where it cannot be read."""
        try:
            with self._file.open("rb") as stream:
                content = self._unpacked(stream, place.chunk)
            opcode, length = _HEAD.unpack_from(content, place.offset)
            begin = place.offset + _HEAD.size
            channel_id, _, _, _ = _MESSAGE.unpack_from(content, begin)
            channel = self._channels[channel_id]
            if opcode != _MESSAGE_CODE or channel.topic != topic:
                raise ValueError("no such message")
            return self._decoder(channel)(content[begin + _MESSAGE.size : begin + length])
        except Exception as error:
            raise ValueError(f"{self._file}: a message of {topic} cannot be read ({error})") from error

    def _begin(self) -> None:
        self.places = {topic: [] for topic in self._topics}
        self.is_closed, self.damage = False, None
        self._read_to, self._chunk = 0, -1
        self._identity = ()
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._decoders: dict[int, Callable[[bytes], RosMessage]] = {}
        self._chunks: OrderedDict[int, bytes] = OrderedDict()

    def _read_on(self, stream: IO[bytes], size: int) -> None:
        if self._read_to == 0:
            magic = stream.read(len(_MAGIC))
            if magic != _MAGIC[: len(magic)]:
                raise ValueError("no MCAP file")
            if len(magic) < len(_MAGIC):
                return
            self._read_to = len(_MAGIC)
        while self._read_to + _HEAD.size <= size and not self.is_closed:
            stream.seek(self._read_to)
            opcode, length = _HEAD.unpack(stream.read(_HEAD.size))
            if opcode not in _OPCODES:
                raise ValueError(f"no record begins with {opcode}")
            end = self._read_to + _HEAD.size + length
            if end > size:
                return  # it is being written, or breaks off
            if opcode == _CHUNK:
                self._chunk = self._read_to
            elif opcode == _MESSAGE_INDEX:
                self._take_index(stream, length)
            self.is_closed = opcode == _DATA_END
            self._read_to = end

    def _take_index(self, stream: IO[bytes], length: int) -> None:
        if not _INDEX_HEAD.size <= length <= _MOST_INDEX_BYTES:
            raise ValueError(f"an index of {length} bytes")
        content = stream.read(length)
        channel_id, in_bytes = _INDEX_HEAD.unpack_from(content)
        if channel_id not in self._channels:
            self._describe(self._unpacked(stream, self._chunk))
        topic = self._channels[channel_id].topic
        if topic in self._topics:
            entries = _ENTRY.iter_unpack(content[_INDEX_HEAD.size : _INDEX_HEAD.size + in_bytes])
            self.places[topic] += [Place(1e-9 * time, self._chunk, offset) for time, offset in entries]

    def _unpacked(self, stream: IO[bytes], chunk: int) -> bytes:
        """What the chunk at that byte of the file holds."""
        from mcap.data_stream import ReadDataStream
        from mcap.records import Chunk
        from mcap.stream_reader import get_chunk_data_stream

        if chunk not in self._chunks:
            stream.seek(chunk)
            _, length = _HEAD.unpack(stream.read(_HEAD.size))
            head = stream.read(_CHUNK_HEAD.size)
            if max(length, _CHUNK_HEAD.unpack(head)[2]) > _MOST_CHUNK_BYTES:
                raise ValueError(f"a chunk of more than {_MOST_CHUNK_BYTES} bytes")
            record = Chunk.read(ReadDataStream(BytesIO(head + stream.read(length - len(head)))))
            unpacked, size = get_chunk_data_stream(record, validate_crc=True)
            self._chunks[chunk] = unpacked.read(size)
        self._chunks.move_to_end(chunk)
        while len(self._chunks) > _KEPT_CHUNKS:
            self._chunks.popitem(last=False)
        return self._chunks[chunk]

    def _describe(self, content: bytes) -> None:
        """Note the channels that a chunk describes, and the types of their messages."""
        from mcap.data_stream import ReadDataStream
        from mcap.records import Channel, Schema

        begin = 0
        while begin + _HEAD.size <= len(content):
            opcode, length = _HEAD.unpack_from(content, begin)
            body = ReadDataStream(BytesIO(content[begin + _HEAD.size : begin + _HEAD.size + length]))
            if opcode == _SCHEMA_CODE:
                schema = Schema.read(body)
                self._schemas.setdefault(schema.id, schema)
            elif opcode == _CHANNEL_CODE:
                channel = Channel.read(body)
                self._channels.setdefault(channel.id, channel)
            begin += _HEAD.size + length

    def _decoder(self, channel: Channel) -> Callable[[bytes], RosMessage]:
        from mcap_ros2.decoder import DecoderFactory

        if channel.id not in self._decoders:
            decoder = DecoderFactory().decoder_for(channel.message_encoding, self._schemas[channel.schema_id])
            if decoder is None:
                raise ValueError(f"messages encoded as {channel.message_encoding!r}")
            self._decoders[channel.id] = decoder
        return self._decoders[channel.id]
