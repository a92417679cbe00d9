"""Who moved the arm in each frame of an episode, as runs of one name: [["policy", 31], ["operator", 12]]."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from mqe_core.robot.ranks import RANKS

Runs = list[list[str | int]]


def runs_of(commanders: Sequence[str]) -> Runs:
    """(T,) names → runs; none of none."""
    return [[name, len(list(same))] for name, same in groupby(commanders)]


def is_runs(value: object) -> bool:
    """Whether that is what `runs_of` may give."""
    return isinstance(value, list) and all(
        isinstance(run, list) and len(run) == 2 and run[0] in list(RANKS) and type(run[1]) is int and 0 < run[1] < 2**31
        for run in value
    )


def from_runs(runs: Runs, frames: int) -> tuple[str, ...]:
    """Runs → (frames,) names; none of none. ValueError where they are of another number of frames."""
    total = sum(int(count) for _, count in runs)
    if runs and total != frames:
        raise ValueError(f"commanders of {total} frames, in an episode of {frames}")
    return tuple(str(name) for name, count in runs for _ in range(int(count)))
