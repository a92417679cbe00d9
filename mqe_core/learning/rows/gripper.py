"""When the gripper opens: what a policy learns of it, beside what was recorded."""

from __future__ import annotations

import numpy as np

from mqe_core.data.frames import Frames
from mqe_core.learning.rows.landmarks import require_arm
from mqe_core.robot.arrays import Float32s

PUT_DOWN_M = 0.02  # by so much the hand comes down before it lets go of what it carried, and not of a handle


def opening_early(store: Frames, steps: int) -> Float32s:
    """``(N, 7)`` actions of a store, where the gripper opens ``steps`` frames earlier than it was recorded to wherever
    something is put down; what is no number is 0. ValueError, with ``steps``, where they are not an arm's.

    What it is for: docs/algorithm.md, One encoder, many heads. A handle is not let go of early, as that would end the
    pull: it hardly comes down while it is held.
    """
    actions = np.nan_to_num(store.actions)
    if not steps:
        return actions
    require_arm(store, "gripper_opens_early")
    recorded, heights, changed = actions[:, -1] > 0.5, store.states[:, 2], actions.copy()
    start = 0
    for end in store.episode_ends:
        highest = None  # of the hand, since the gripper closed; None while it is open
        for frame in start + np.flatnonzero(store.valid[start:end]):
            if not recorded[frame]:
                highest = heights[frame] if highest is None else max(highest, heights[frame])
            elif highest is not None:
                first = max(start, frame - steps)
                if highest - heights[frame] >= PUT_DOWN_M:
                    changed[first:frame, -1] = np.maximum(changed[first:frame, -1], actions[frame, -1])
                highest = None
        start = end
    return changed
