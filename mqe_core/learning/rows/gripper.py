"""When the gripper opens: what a policy learns of it, beside what was recorded."""

from __future__ import annotations

import numpy as np

from mqe_core.data.frames import Frames
from mqe_core.robot.arrays import Float32s

PUT_DOWN_M = 0.03  # by so much the hand comes down before it lets go of what it carried, and not of a handle


def opening_early(store: Frames, steps: int) -> Float32s:
    """``(N, 7)`` actions of a store, where the gripper opens ``steps`` frames earlier than it was recorded to wherever
    something is put down; what is no number is 0.

    Why: a picture hardly tells fingers that are about to let go from fingers that have just let go. Before, the hand
    goes down with the gripper closed; after, it goes up with the gripper open. The mean of both is a hand that stands
    over the target and holds the thing. Learned early, both say open there. A handle is not let go of early: that
    would end the pull.
    """
    actions = np.nan_to_num(store.actions)
    if not steps:
        return actions
    recorded, heights, changed = actions[:, -1] > 0.5, store.states[:, 2], actions.copy()
    start = 0
    for end in store.episode_ends:
        closed, highest = False, -np.inf
        for frame in range(start, end - 1):  # the last frame has no action
            if not recorded[frame]:
                closed, highest = True, max(highest, heights[frame])
            elif closed:
                first = max(start, frame - steps)
                if highest - heights[frame] >= PUT_DOWN_M:
                    changed[first:frame, -1] = np.maximum(changed[first:frame, -1], actions[frame, -1])
                closed, highest = False, -np.inf
        start = end
    return changed
