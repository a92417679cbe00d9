"""The scale of actions: between physical units and the agent's [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A dimension that never moves (roll, in a task without it) still needs a finite scale: +-1 mm or 1 mrad around its
# value.
MIN_HALF_RANGE = 1e-3


@dataclass(frozen=True)
class ActionScale:
    """Affine map between physical actions and the agent's [-1, 1], per dimension."""

    low: np.ndarray  # (A,) float32, the physical action that becomes -1
    high: np.ndarray  # (A,) float32, the physical action that becomes +1

    def normalise(self, actions: np.ndarray) -> np.ndarray:
        """``(..., A)`` physical -> ``(..., A)`` in [-1, 1]; what lies outside the scale is clipped."""
        return np.clip(2.0 * (actions - self.low) / (self.high - self.low) - 1.0, -1.0, 1.0).astype(np.float32)


def fit_action_scale(actions: np.ndarray, identity: bool = False) -> ActionScale:
    """The 1 % and 99 % quantiles of the motion ``(n, 7)``; the gripper, last, is stated: 0 closed to 1 open.

    With ``identity`` actions ``(n, A)`` in [-1, 1] stay as they are; ValueError where they lie beyond.
    """
    if len(actions) == 0 or not np.all(np.isfinite(actions)):
        raise ValueError(f"the action scale needs finite actions of valid frames, got {len(actions)} rows")
    if identity:
        largest = float(np.abs(actions).max())
        if largest > 1.0 + 1e-6:
            raise ValueError(f"action_scale: identity needs actions in [-1, 1], the largest is {largest:.3g}")
        return ActionScale(np.full(actions.shape[1], -1.0, np.float32), np.full(actions.shape[1], 1.0, np.float32))
    low, high = np.quantile(actions.astype(np.float64), [0.01, 0.99], axis=0)
    middle, half_range = (low + high) / 2, np.maximum((high - low) / 2, MIN_HALF_RANGE)
    low, high = middle - half_range, middle + half_range
    low[-1], high[-1] = 0.0, 1.0
    return ActionScale(low.astype(np.float32), high.astype(np.float32))
