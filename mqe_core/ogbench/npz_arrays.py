"""The arrays of an .npz file, memory-mapped where they are stored as they are, else read."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from mqe_core.robot.arrays import AnyArray

_LOCAL_HEADER = 30  # bytes of a zip entry's local header before its name


def read_arrays(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> dict[str, AnyArray]:
    """The arrays ``needed``, and those of ``optional`` that are there; ValueError where one is missing or unreadable.

    Reading executes nothing: arrays of Python objects are refused.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            missing = [key for key in needed if key not in entries]
            if missing:
                found = ", ".join(sorted(entries)) or "nothing"
                raise ValueError(f"{path} has no {' and no '.join(missing)}; it holds {found}")
            wanted = [key for key in (*needed, *optional) if key in entries]
            return {key: _read(archive, path, entries[key]) for key in wanted}
    except (zipfile.BadZipFile, EOFError, OSError, struct.error) as error:
        raise ValueError(f"{path} cannot be read as an .npz file: {error}") from error


def contents_hash_parts(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and CRC-32 of each array, as the file's directory has them: no data is read."""
    with zipfile.ZipFile(path) as archive:
        return sorted((entry.filename, entry.file_size, entry.CRC) for entry in archive.infolist())


def _read(archive: zipfile.ZipFile, path: Path, entry: zipfile.ZipInfo) -> AnyArray:
    try:
        with archive.open(entry) as file:
            shape, fortran, dtype = _read_header(file)
            if dtype.hasobject:
                raise ValueError("it holds Python objects, which are not read")
            length = int(np.prod(shape)) * dtype.itemsize
            if file.tell() + length != entry.file_size:
                raise ValueError(f"{entry.file_size - file.tell()} bytes, expected {length} for {dtype} {shape}")
            if entry.compress_type == zipfile.ZIP_STORED and length and not fortran:
                offset = _data_offset(path, entry) + file.tell()
                return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape).view(np.ndarray)
            array: AnyArray = np.frombuffer(file.read(), dtype=dtype).reshape(shape, order="F" if fortran else "C")
            return array
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {entry.filename.removesuffix('.npy')} cannot be read: {error}") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis varies fastest, and type."""
    read_magic: Callable[..., Any] = npy.read_magic  # numpy gives these no types
    first: Callable[..., Any] = npy.read_array_header_1_0
    second: Callable[..., Any] = npy.read_array_header_2_0
    read = first if read_magic(file) == (1, 0) else second
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    return header


def _data_offset(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where the entry's data begin in the file; the local header's extra field may differ from the directory's."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name_length, extra_length = struct.unpack("<HH", file.read(_LOCAL_HEADER)[26:30])
    return entry.header_offset + _LOCAL_HEADER + int(name_length) + int(extra_length)
