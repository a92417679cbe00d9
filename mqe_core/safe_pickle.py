"""Unpickling of arrays and plain containers, and nothing else.

A pickle may name any importable function and have it called. Raw BridgeData trees hold pickles, and bridge_data_robot's
server answers with them. So the permitted names are listed here. Any other name stops the load before it is called.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

from mqe_core.files.bounded import read_bounded
from mqe_core.files.placeholders import why_unreadable

_MOST_BYTES = 2**31  # of a file; an episode's states have some thousand
_NUMPY_NAMES = {
    "numpy": {"ndarray", "dtype"},
    # NumPy 2 renamed numpy.core to numpy._core; files written by either hold its own spelling.
    **{
        f"numpy.{core}.{module}": names
        for core in ("core", "_core")
        for module, names in (("multiarray", {"_reconstruct", "scalar"}), ("numeric", {"_frombuffer"}))
    },
}
_CONTAINERS = {
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
    "complex",
    "bytearray",
    "bytes",
    "int",
    "float",
    "bool",
    "str",
}
_ALLOWED = {
    **_NUMPY_NAMES,
    "builtins": _CONTAINERS,
    "__builtin__": _CONTAINERS,  # the same module as protocol 2 and older spell it
    "collections": {"OrderedDict"},
    "_codecs": {"encode"},  # how protocol 2 and older spell bytes
}


def require_allowed(module: str, name: str) -> None:
    """UnpicklingError where a pickle refers to anything else than arrays and plain containers."""
    if name not in _ALLOWED.get(module, ()):
        raise pickle.UnpicklingError(f"refers to {module}.{name}; only arrays and plain containers are loaded")


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        require_allowed(module, name)
        return super().find_class(module, name)


def loads(contents: bytes) -> object:
    """The object in a pickle of arrays and plain containers. ValueError where it is damaged or holds anything else."""
    try:
        return _RestrictedUnpickler(io.BytesIO(contents), encoding="latin1").load()
    # A damaged pickle can end in nearly any exception (IndexError, MemoryError …): all mean the same.
    except Exception as error:
        raise ValueError(f"not loaded: {error or type(error).__name__}") from error


def load(file: Path) -> object:
    """`loads` of a file's contents; the ValueError names the file."""
    contents = read_bounded(file, _MOST_BYTES)
    try:
        return loads(contents)
    except ValueError as error:
        raise ValueError(f"{file.name} {error}{why_unreadable(file)}") from error
