"""A YAML file as dataclasses, strictly: every key stands once in a dataclass, with its type and what it may be.

The types below say what a plain `float` cannot: `Positive`, or an array of a fixed shape. Type checkers see through
them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np

from mqe_core.files.bounded import shown
from mqe_core.robot.arrays import Floats

T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """The shape of an array of finite numbers. The array that is loaded is read-only."""

    axes: tuple[int, ...]


class AboveZero:
    """A mark: the number must be greater than 0."""


Positive = Annotated[float, AboveZero]
PositiveInt = Annotated[int, AboveZero]
Vector3 = Annotated[Floats, Shape((3,))]
Vector6 = Annotated[Floats, Shape((6,))]
Matrix6 = Annotated[Floats, Shape((6, 6))]
Rgba = Annotated[Floats, Shape((4,))]


def build(cls: type[T], content: object, file: str, where: str = "") -> T:
    """Dataclass `cls` from a mapping with exactly its fields that have no default; `where` is the dotted key so far.

    ValueError naming the file and the key when a key is unknown, missing, of the wrong type or out of range.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{file}: {where or 'top level'}: expected a mapping of keys, got {type(content).__name__}")
    assert dataclasses.is_dataclass(cls)
    fields = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
    hints = typing.get_type_hints(cls, include_extras=True)
    for key in content:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            raise ValueError(
                f"{file}: unknown key {_join(where, key)}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    for key in fields:
        if key not in content:
            raise ValueError(f"{file}: missing key {_join(where, key)}")
    return cls(**{key: _convert(hints[key], content[key], file, _join(where, key)) for key in fields})


def _convert(hint: Any, value: object, file: str, where: str) -> object:
    """`value` as the type `hint`: a dataclass, a tuple of one, str, a number, or one of the types above."""
    marks: list[object] = []
    if typing.get_origin(hint) is Annotated:
        hint, *marks = typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, file, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{file}: {where}: expected a list with at least one entry, got {shown(value)}")
        return tuple(build(typing.get_args(hint)[0], item, file, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{file}: {where}: expected a text, got {shown(value)}")
        return value
    for mark in marks:
        if isinstance(mark, Shape):
            return _array(value, mark.axes, file, where)
    return _number(hint, value, AboveZero in marks, file, where)


def _number(kind: type[float] | type[int], value: object, above_zero: bool, file: str, where: str) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise ValueError(f"{file}: {where}: expected a finite number, got {shown(value)}")
    if kind is int and not isinstance(value, int):
        raise ValueError(f"{file}: {where}: expected a whole number, got {shown(value)}")
    if above_zero and value <= 0:
        raise ValueError(f"{file}: {where}: must be greater than 0, got {shown(value)}")
    return kind(value)


def _array(value: object, shape: tuple[int, ...], file: str, where: str) -> Floats:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{file}: {where}: expected numbers of shape {shape}, got {shown(value)}") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{file}: {where}: expected finite numbers of shape {shape}, got {shown(value)}")
    array.flags.writeable = False
    return array


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
