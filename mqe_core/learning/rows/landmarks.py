"""Landmarks: where the hand is, and where it will be when the gripper next opens or closes, or at the episode's end.

The second says which thing is meant, and where it lies, long before the single actions do: those are as long as a step
may be until the hand is near. Predicting both beside the action teaches an image encoder to localise. They are made
from recorded states and actions; what is deployed needs neither. The idea of such keyframes is that of James and
Davison, 2022 ("Q-attention").
"""

from __future__ import annotations

import numpy as np

from mqe_core.data.frames import Frames

WIDTH = 7  # hand (3) and gripper, then the hand at the next landmark (3)
_OPEN = 0.5  # gripper commands above count as open
_MIN_STD = 1e-3  # m, or of the gripper's range


def landmarks(store: Frames) -> np.ndarray:
    """``(N, 7) float32``, standardised over all frames of the store; a hand's and its landmark's position by the same
    scale. ValueError where the data is not of an arm.
    """
    require_arm(store, "landmark_weight")
    hand = store.states[:, :3]
    following = np.empty_like(hand)
    start = 0
    for end in store.episode_ends:
        following[start:end] = hand[_next_change(store.actions[start:end, 6]) + start]
        start = end
    values = np.concatenate([hand, store.states[:, 6:7], following], axis=1).astype(np.float64)
    mean, std = values.mean(0), np.maximum(values.std(0), _MIN_STD)
    mean[4:], std[4:] = mean[:3], std[:3]
    return ((values - mean) / std).astype(np.float32)


def require_arm(store: Frames, key: str) -> None:
    """ValueError, naming the ``key`` that asks, where the data is not of an arm."""
    if store.states.shape[1] != WIDTH or store.actions.shape[1] != WIDTH:
        raise ValueError(f"{key} needs the states and actions of an arm, which {store.path} does not hold")


def _next_change(gripper: np.ndarray) -> np.ndarray:
    """``(T,)`` gripper commands, the last without meaning -> ``(T,)``: the frame of the next change, else the last
    frame.
    """
    is_open = gripper[:-1] > _OPEN
    changes = 1 + np.flatnonzero(is_open[1:] != is_open[:-1])
    frames = np.arange(len(gripper))
    return np.append(changes, len(gripper) - 1)[np.searchsorted(changes, frames, side="left")]
