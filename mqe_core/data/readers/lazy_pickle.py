"""Unpickling a file of many arrays without holding them: large ones stay in the file until they are asked for.

The C unpickler keeps all that it reads. The one in Python lets each large piece of bytes be replaced by its place in
the file. Which names a pickle may refer to is as in `safe_pickle`.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mqe_core import safe_pickle
from mqe_core.robot.arrays import AnyArray

_LARGE = 1024  # bytes from which on a piece stays in the file


@dataclass(frozen=True)
class _Stored:
    """Bytes that are still in the file."""

    offset: int
    length: int


class _Array:
    """An array, of NumPy's or of bytes, whose content may still be in the file."""

    def __init__(self, raw: Any = b"", make: Callable[[Any], Any] | None = None) -> None:
        self.raw, self.make = raw, make

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """As NumPy pickles an array: version, shape, type, whether by columns, content."""
        *about, self.raw = state
        self.make = partial(_of_state, tuple(about))

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process it goes as it is, the content still in the file."""
        return _Array, (self.raw, self.make)


def _of_state(about: tuple[Any, ...], raw: Any) -> AnyArray:
    version, shape, dtype, is_fortran = about
    array: AnyArray = np.ndarray.__new__(np.ndarray, (0,))
    array.__setstate__((version, shape, dtype, is_fortran, raw))
    return array


def _of_buffer(dtype: Any, shape: Any, order: Any, raw: Any) -> AnyArray:
    return np.frombuffer(raw, dtype=dtype).reshape(shape, order=order)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array(raw, partial(_of_buffer, dtype, shape, order))


def _byte_array(content: Any = b"", *_: object) -> _Array:
    return _Array(content, bytearray)


_STAND_INS = {"_reconstruct": _reconstruct, "_frombuffer": _from_buffer, "bytearray": _byte_array}


# typeshed knows little of the unpickler in Python; its methods are those of every CPython since 3.8.
_InPython: Any = pickle._Unpickler


class _Unpickler(_InPython):  # type: ignore[misc]  # therefore
    dispatch = dict(_InPython.dispatch)

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")
        self._stream = file
        self._frame_end = 0

    def find_class(self, module: str, name: str) -> Any:
        safe_pickle.require_allowed(module, name)
        return _STAND_INS.get(name) or super().find_class(module, name)

    def load_frame(self) -> None:
        _InPython.dispatch[pickle.FRAME[0]](self)
        self._frame_end = self._stream.tell()

    def _load_bytes(self, size_format: str, make: Callable[[Any], Any] = lambda content: content) -> None:
        (length,) = struct.unpack(size_format, self.read(struct.calcsize(size_format)))
        content = self.read(length)
        if len(content) != length:
            raise EOFError("it ends within an array")
        frame = self._unframer.current_frame
        end = self._frame_end - len(frame.getbuffer()) + frame.tell() if frame else self._stream.tell()
        self.append(make(_Stored(end - length, length) if length >= _LARGE else content))

    dispatch[pickle.FRAME[0]] = load_frame
    dispatch[pickle.BINBYTES[0]] = lambda self: self._load_bytes("<I")
    dispatch[pickle.BINBYTES8[0]] = lambda self: self._load_bytes("<Q")
    dispatch[pickle.BYTEARRAY8[0]] = lambda self: self._load_bytes("<Q", _byte_array)


def load(file: Path, begin: int) -> Any:
    """The object in the pickle that begins at byte `begin`, for `materialise`. ValueError where it is damaged or holds
    anything else than arrays and plain containers.
    """
    with file.open("rb") as stream:
        stream.seek(begin)
        try:
            found = _Unpickler(stream).load()
        # A damaged pickle can end in nearly any exception (IndexError, MemoryError …): all mean the same.
        except Exception as error:
            raise ValueError(f"not loaded: {error or type(error).__name__}") from error
    return _outer(found)


def _outer(found: Any) -> Any:
    """An array of objects as such an array; its elements stay as they are."""
    is_objects = isinstance(found, _Array) and isinstance(found.raw, list) and found.make is not None
    return found.make(found.raw) if is_objects else found


def materialise(value: Any, file: Path) -> Any:
    """`value`, a part of what `load` gave, with all arrays in it. ValueError where the file is not as it was."""
    with file.open("rb") as stream:
        return _materialise(value, stream, {})


def _materialise(value: Any, stream: BinaryIO, made: dict[int, Any]) -> Any:
    """`made` holds by identity what is done: a picture is often that of two steps."""
    if isinstance(value, dict):
        return {key: _materialise(each, stream, made) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_materialise(each, stream, made) for each in value)
    if isinstance(value, _Stored):
        return _read(value, stream)
    if not isinstance(value, _Array):
        return value
    if id(value) not in made:
        raw = _materialise(value.raw, stream, made)
        try:
            made[id(value)] = value.make(raw) if value.make is not None else np.empty(0)
        except Exception as error:  # likewise
            raise ValueError(f"an array that cannot be made: {error or type(error).__name__}") from error
    return made[id(value)]


def _read(stored: _Stored, stream: BinaryIO) -> bytes:
    stream.seek(stored.offset)
    content = stream.read(stored.length)
    if len(content) != stored.length:
        raise ValueError("the file has changed since it was opened")
    return content
