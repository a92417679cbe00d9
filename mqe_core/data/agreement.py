"""Whether what a source says in two places agrees: its gripper's states and actions, its time stamps and the rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mqe_core.robot.arrays import Float32s

# The state follows the action: in both samples of real data the correlation of an action with the state after it is
# above 0.7 (tests/data/test_agreement.py). Episodes without grasping may show none; below this one of the two is
# upside down.
_LEAST_CORRELATION = -0.5
_FEWEST = 50  # actions; fewer may correlate by chance
_LEAST_SPREAD = 0.1  # of the opening (0 to 1), as a standard deviation: fingers that hardly move tell nothing
_GRIPPER = 6  # column
_MOST_FACTOR = 1.5  # between the rates: what a busy recorder does to one is less


def why_grippers_disagree(states: Sequence[Float32s], actions: Sequence[Float32s]) -> list[str]:
    """Of each episode states (T, 7) and actions (T-1, 7) → what is wrong, or nothing."""
    after = np.concatenate([each[1:, _GRIPPER] for each in states]).astype(np.float64)
    asked = np.concatenate([each[:, _GRIPPER] for each in actions]).astype(np.float64)
    if len(asked) < _FEWEST or min(after.std(), asked.std()) < _LEAST_SPREAD:
        return []
    correlation = float(np.corrcoef(after, asked)[0, 1])
    if correlation > _LEAST_CORRELATION:
        return []
    return [
        f"gripper: its state goes down where its action goes up (correlation {correlation:.2f}); 1 is open in both "
        "(--gripper=state:1..0 or --gripper=action:1..0 turns one of them round)"
    ]


def why_another_rate(periods_s: Sequence[float], period_s: float) -> list[str]:
    """The seconds between frames as the episodes' time stamps say, and as a store of them would → what is wrong, or
    nothing.
    """
    if not periods_s:
        return []
    median_s = float(np.median(periods_s))
    if 1.0 / _MOST_FACTOR <= median_s / period_s <= _MOST_FACTOR:
        return []
    return [
        f"time stamps: frames are {median_s:.3g} s apart, those of this format {period_s:.3g} s: the arm would move at "
        "another speed; record at that rate, or leave out frames"
    ]
