"""TFRecord shards and the tf.train.Example inside, without TensorFlow.

A record is: length (uint64), masked CRC-32C of the length, the data, masked CRC-32C of the data, all
little-endian. Both checksums are checked. An Example is a protocol buffer; its messages
(tensorflow/core/example/{example,feature}.proto) are declared below.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class BrokenShardError(ValueError):
    """Nothing after this place of the shard can be read, because the length of a record is lost."""


def masked_crc32c(data: bytes) -> int:
    """The checksum that TFRecord stores: CRC-32C rotated right by 15 bits, plus a constant.

    Source: tensorflow/core/lib/hash/crc32c.h.
    """
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(file: Path) -> Iterator[bytes | None]:
    """The data of each record in order; None for one whose data does not fit its checksum.

    BrokenShardError where a length does not fit its checksum or the file ends inside a record.
    """
    size = os.path.getsize(file)
    with open(file, "rb") as stream:
        while (start := stream.tell()) < size:
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                raise BrokenShardError(f"the file ends inside the header of the record at byte {start}")
            length, length_crc = _HEADER.unpack(header)
            if masked_crc32c(header[:8]) != length_crc:
                raise BrokenShardError(f"the length of the record at byte {start} does not fit its checksum")
            if length > size - stream.tell() - _FOOTER.size:
                raise BrokenShardError(f"the file ends inside the record at byte {start} ({length} bytes long)")
            data = stream.read(length)
            (data_crc,) = _FOOTER.unpack(stream.read(_FOOTER.size))
            yield data if masked_crc32c(data) == data_crc else None


def parse_example(data: bytes) -> dict[str, list[Any]]:
    """Feature name → its list of bytes, floats or ints. Raises ValueError where `data` is no Example."""
    example = _Example()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"the record is no tf.train.Example: {error}") from error
    features = {}
    for key, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[key] = list(getattr(feature, kind).value) if kind else []
    return features


def _declare_example() -> Any:
    """The message class. Its fields exist at run time only, so no type can name them."""
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="mqe/example.proto", package="mqe.tf", syntax="proto3")

    def declare(message: str, *fields: tuple[str, Any, Any, bool, str | None], parent: Any = file.message_type) -> Any:
        declared = parent.add(name=message)
        for name, number, kind, is_repeated, type_name in fields:
            label = field_type.LABEL_REPEATED if is_repeated else field_type.LABEL_OPTIONAL
            declared.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)
        return declared

    declare("BytesList", ("value", 1, field_type.TYPE_BYTES, True, None))
    declare("FloatList", ("value", 1, field_type.TYPE_FLOAT, True, None))
    declare("Int64List", ("value", 1, field_type.TYPE_INT64, True, None))
    feature = declare(
        "Feature",
        ("bytes_list", 1, field_type.TYPE_MESSAGE, False, ".mqe.tf.BytesList"),
        ("float_list", 2, field_type.TYPE_MESSAGE, False, ".mqe.tf.FloatList"),
        ("int64_list", 3, field_type.TYPE_MESSAGE, False, ".mqe.tf.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = declare("Features", ("feature", 1, field_type.TYPE_MESSAGE, True, ".mqe.tf.Features.FeatureEntry"))
    entry = declare(
        "FeatureEntry",
        ("key", 1, field_type.TYPE_STRING, False, None),
        ("value", 2, field_type.TYPE_MESSAGE, False, ".mqe.tf.Feature"),
        parent=features.nested_type,
    )
    entry.options.map_entry = True
    declare("Example", ("features", 1, field_type.TYPE_MESSAGE, False, ".mqe.tf.Features"))
    pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow in the same process keeps its messages
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mqe.tf.Example"))


_Example = _declare_example()
