"""Checkpoints written beside training: the loop waits for a copy of the state, and not for the disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from torch import Tensor

from mqe_core.learning.run.checkpoint import save_checkpoint


class CheckpointWriter:
    """Writes one checkpoint at a time, atomically, in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def write(self, path: Path, state: dict[str, Any]) -> None:
        """Begin to write ``state``, which may change from now on. Waits for an earlier one, and raises its error."""
        self.wait()
        kept = copied(state)
        # Not a daemon: a program that ends meanwhile writes to the end.
        self._thread = threading.Thread(target=self._save, args=(path, kept), name="checkpoint")
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Until the last one is on the disk; raises what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _save(self, path: Path, state: dict[str, Any]) -> None:
        try:
            save_checkpoint(path, state)
        except BaseException as error:  # raised where the loop meets it
            self._error = error


def copied(state: Any) -> Any:
    """``state`` with copies of its tensors on the CPU; one tensor in two places stays one."""
    return _copied(state, {})


def _copied(value: Any, seen: dict[tuple[object, ...], Tensor]) -> Any:
    if isinstance(value, Tensor):
        memory = value.untyped_storage().data_ptr(), value.storage_offset(), value.dtype
        place = (*memory, tuple(value.shape), value.stride())
        if place not in seen:
            seen[place] = value.detach().to("cpu", copy=True)
        return seen[place]
    if isinstance(value, dict):
        return type(value)((name, _copied(item, seen)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item, seen) for item in value)
    return value
