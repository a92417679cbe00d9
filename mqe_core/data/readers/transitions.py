"""bridge_data_v2's own training files hold transitions: L pairs of an observation and the next. They become L + 1
frames again.

Both of its forms keep them so, numpy (`out.npy`) and TFRecord. Splits are folders: `…/train/` and `…/val/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mqe_core.data.episode import Episode, without_vanished
from mqe_core.data.units import seven_columns
from mqe_core.robot.arrays import AnyArray, Images

_SPLITS = ("train", "val", "validation", "test")


def folder_split(file: Path) -> str:
    """The split that the file's folder names; empty where it names none."""
    return file.parent.name if file.parent.name in _SPLITS else ""


def join_states(states: AnyArray, next_states: AnyArray) -> AnyArray:
    """(L, S) and the (L, S) that follow them → (L + 1, S). ValueError where the one is not the other's next."""
    if states.shape != next_states.shape or states.ndim != 2 or not len(states):
        raise ValueError(f"states of shape {states.shape}, next states of {next_states.shape}: expected (L, 7) twice")
    if not np.array_equal(states[1:], next_states[:-1], equal_nan=True):
        step = int(np.argmax((states[1:] != next_states[:-1]).any(axis=1)))
        raise ValueError(f"the next state of step {step} is not the state of step {step + 1}: no one trajectory")
    return np.concatenate([states, next_states[-1:]])


def from_transitions(
    name: str,
    states: AnyArray,
    next_states: AnyArray,
    actions: AnyArray,
    cameras: Mapping[int, Sequence[bytes | Images]],
    languages: Sequence[str],
    *,
    unused_cameras: tuple[str, ...] = (),
    split: str = "",
) -> Episode:
    """The Episode of L transitions; `cameras` have L + 1 images each."""
    texts = tuple(dict.fromkeys(text.strip() for text in languages if text.strip()))
    rows = seven_columns(join_states(states, next_states), "state")
    whole, lost = without_vanished(cameras, len(rows))
    return Episode(name, rows, seven_columns(actions, "actions"), whole, texts, unused_cameras, split, lost)
