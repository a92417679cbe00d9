"""Serialized tensors (`tf.io.serialize_tensor`) without TensorFlow: a TensorProto is a type, a shape and the values.

Source: tensorflow/core/framework/{tensor,tensor_shape,types}.proto, of which the fields below are declared.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from mqe_core.robot.arrays import AnyArray

_STRING = 7
_NUMBERS = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?"}  # DataType → its bytes in the content
# Where small tensors have their values; the last one is repeated to the end.
_FIELDS = {1: "float_val", 2: "double_val", 3: "int_val", 4: "int_val", 6: "int_val", 9: "int64_val", 10: "bool_val"}


def parse_tensor(data: bytes, what: str) -> AnyArray:
    """The array of any shape in a serialized tensor; of strings, one of objects (bytes).

    ValueError, naming `what`, where it is none, or of another type than numbers, booleans and strings.
    """
    proto = _Tensor()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"{what}: no serialized tensor: {error}") from error
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or (proto.dtype not in _NUMBERS and proto.dtype != _STRING):
        raise ValueError(f"{what}: no serialized tensor of numbers or strings (type {proto.dtype}, shape {shape})")
    if proto.dtype == _STRING:
        values: AnyArray = np.array(list(proto.string_val), dtype=object)
    elif proto.tensor_content:
        if len(proto.tensor_content) != count * np.dtype(_NUMBERS[proto.dtype]).itemsize:
            raise ValueError(f"{what}: {len(proto.tensor_content)} bytes do not fill the shape {shape}")
        values = np.frombuffer(proto.tensor_content, dtype=_NUMBERS[proto.dtype])
    else:
        few = list(getattr(proto, _FIELDS[proto.dtype]))
        if len(few) > count or (not few and count):
            raise ValueError(f"{what}: {len(few)} values do not fill the shape {shape}")
        if count > len(data) * 64:  # the repeated last value: no room for it is made on a damaged shape's word
            raise ValueError(f"{what}: {len(few)} values for the shape {shape}")
        values = np.array(few + few[-1:] * (count - len(few)), dtype=_NUMBERS[proto.dtype])
    if values.size != count:
        raise ValueError(f"{what}: {values.size} values do not fill the shape {shape}")
    return values.reshape(shape)


def _declare_tensor() -> Any:
    """The message class. Its fields exist at run time only, so no type can name them."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="mqe/tensor.proto", package="mqe.tf", syntax="proto3")

    def declare(parent: Any, message: str, *fields: tuple[str, int, Any, bool, str | None]) -> Any:
        declared = parent.add(name=message)
        for name, number, field_type, is_repeated, type_name in fields:
            label = kind.LABEL_REPEATED if is_repeated else kind.LABEL_OPTIONAL
            declared.field.add(name=name, number=number, type=field_type, label=label, type_name=type_name)
        return declared

    declare(file.message_type, "Dim", ("size", 1, kind.TYPE_INT64, False, None))
    declare(file.message_type, "Shape", ("dim", 2, kind.TYPE_MESSAGE, True, ".mqe.tf.Dim"))
    declare(
        file.message_type,
        "Tensor",
        ("dtype", 1, kind.TYPE_INT32, False, None),  # an enum there: the same bytes
        ("tensor_shape", 2, kind.TYPE_MESSAGE, False, ".mqe.tf.Shape"),
        ("tensor_content", 4, kind.TYPE_BYTES, False, None),
        ("float_val", 5, kind.TYPE_FLOAT, True, None),
        ("double_val", 6, kind.TYPE_DOUBLE, True, None),
        ("int_val", 7, kind.TYPE_INT32, True, None),
        ("string_val", 8, kind.TYPE_BYTES, True, None),
        ("int64_val", 10, kind.TYPE_INT64, True, None),
        ("bool_val", 11, kind.TYPE_BOOL, True, None),
    )
    pool = descriptor_pool.DescriptorPool()  # of its own: TensorFlow in the same process keeps its messages
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mqe.tf.Tensor"))


_Tensor = _declare_tensor()
