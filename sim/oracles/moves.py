"""Pieces of scripts: ways over the table that push nothing, as smooth functions of what is visible."""

from __future__ import annotations

import numpy as np

from mqe_core.robot.arrays import Floats

HOVER_M = 0.10  # height at which the hand crosses the table
ALIGNED_M = 0.010  # from so far off-centre inward the hand goes down
_CLEAR_M = 0.03  # fingertips above a thing's top


def ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, linear between."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def opened(opening: float) -> float:
    """0 while the measured gripper is closed on something (0.60 on 30 mm), 1 when it is free of it."""
    return ramp(opening, 0.80, 0.97)


def funnel(position: Floats, over: Floats, bottom_m: float, width_m: float) -> float:
    """Height to be at: `bottom_m` where centred over `over`, the crossing height from `width_m` further out."""
    off = float(np.linalg.norm(position[:2] - over[:2]))
    return bottom_m + ramp(off, ALIGNED_M, ALIGNED_M + width_m) * (HOVER_M - bottom_m)


def go(hand: Floats, goal: Floats, obstacle: Floats, top_m: float) -> Floats:
    """The next point (3,) on the way to `goal`: first up where the fingers would push the obstacle beside or around
    which they are. `obstacle` (3,) is its centre, `top_m` its top's height.
    """
    near = 1.0 - ramp(float(np.linalg.norm(hand[:2] - obstacle[:2])), 0.06, 0.09)
    aside = ramp(float(np.linalg.norm(goal[:2] - hand[:2])), ALIGNED_M, 3 * ALIGNED_M)
    low = 1.0 - ramp(hand[2], top_m, top_m + _CLEAR_M)
    blocked = near * aside * low
    up = np.array([*hand[:2], obstacle[2] + HOVER_M])
    return blocked * up + (1.0 - blocked) * goal
