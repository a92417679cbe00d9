"""What the choice of goals needs to know of a store's recordings: which episodes were made on one table, and where each
comes to rest.
"""

from __future__ import annotations

import numpy as np

from mqe_core.data.frames import Frames
from mqe_core.data.names import scene_of


def scene_ends(store: Frames) -> np.ndarray:
    """``(S,)``: exclusive ends of the scenes. A scene is a dated folder of BridgeData, whose episodes stand in a row in
    the order of recording.
    """
    scenes = [scene_of(name) for name in store.names]
    last = [index == len(scenes) - 1 or scenes[index] != scenes[index + 1] for index in range(len(scenes))]
    return store.episode_ends[np.array(last)]


def stopping_frames(store: Frames, radius_m: float) -> np.ndarray:
    """``(N,) bool``: frames from which on the hand stays within ``radius_m`` of where its episode ends, the last
    frame's position; 0: none.
    """
    stopping = np.zeros(store.num_frames, dtype=bool)
    start = 0
    for end in store.episode_ends:
        off = np.linalg.norm(store.states[start:end, :3] - store.states[end - 1, :3], axis=1)
        far = np.flatnonzero(off >= radius_m)
        stopping[start + far[-1] + 1 if len(far) else start : end] = True
        start = end
    return stopping
