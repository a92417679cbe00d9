"""What an import makes of each episode besides its units: which cameras and steps it keeps, what its actions are, and
the split it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from mqe_core.data.episode import Episode
from mqe_core.robot.arrays import AnyArray, Floats, Images
from mqe_core.robot.geometry import action_between, state_to_pose

Frames: TypeAlias = "Sequence[bytes | Images]"
COMMANDED, ABSOLUTE, REACHED, REACHED_EULER = "commanded", "absolute", "reached", "reached-euler"
ACTIONS = (COMMANDED, ABSOLUTE, REACHED, REACHED_EULER)
_OPEN, _CLOSED = 0.95, 0.05


@dataclass(frozen=True)
class EpisodeRules:
    """By default an episode stays as it is.

    Attributes:
        actions: `reached` labels each step with the way that the hand really went, as the controller would be told to
            go it (a rotation about the axes of the base); `reached-euler` with the differences of the measured Euler
            angles, as BridgeData's training does. Gripper actions stay the commanded ones. Others change nothing.
        binary_gripper: gripper actions become 0 or 1 (`binarize`).
        drop_first, drop_last: frames left out at either end.
        cameras: the numbers of those that are kept; empty: all.
        val_share: 0 to 1, the share of the episodes whose split is `val`, by a hash of the name; the others' is
            `train`. None: the split is the source's.
        split: only episodes of this split; empty: all.
    """

    actions: str = COMMANDED
    binary_gripper: bool = False
    drop_first: int = 0
    drop_last: int = 0
    cameras: tuple[int, ...] = ()
    val_share: float | None = None
    split: str = ""

    def __post_init__(self) -> None:
        if self.actions not in ACTIONS:
            raise ValueError(f"--actions={self.actions}: expected one of {', '.join(ACTIONS)}")
        if min(self.drop_first, self.drop_last) < 0:
            raise ValueError("--drop-first and --drop-last: expected a number of frames from 0 up")
        if self.val_share is not None and not 0.0 <= self.val_share <= 1.0:
            raise ValueError(f"--val-share={self.val_share:g}: expected a share from 0 to 1")

    def __call__(self, episode: Episode) -> Episode | None:
        """The episode by these rules; None where it is of another split than is asked for. ValueError where nothing is
        left of it, or it has none of the cameras.
        """
        split = episode.split if self.val_share is None else hashed_split(episode.name, self.val_share)
        if self.split and split != self.split:
            return None
        if self == EpisodeRules():
            return episode
        states, actions = np.asarray(episode.states), np.asarray(episode.actions)
        if self.actions in (REACHED, REACHED_EULER):
            actions = reached_actions(states, actions, euler=self.actions == REACHED_EULER)
        if self.binary_gripper:
            actions = np.concatenate([actions[:, :6], binarize(actions[:, 6])[:, None]], axis=1)
        first, end = self.drop_first, len(states) - self.drop_last
        if end - first < 2:
            raise ValueError(f"of its {len(states)} frames fewer than 2 are left without the first and last ones")
        images = {camera: frames[first:end] for camera, frames in self._kept(episode).items()}
        return replace(
            episode,
            states=states[first:end],
            actions=actions[first : end - 1],
            images=images,
            split=split,
            commanders=episode.commanders[first:end],
            lost_cameras={c: why for c, why in episode.lost_cameras.items() if not self.cameras or c in self.cameras},
        )

    def _kept(self, episode: Episode) -> Mapping[int, Frames]:
        if not self.cameras:
            return episode.images
        kept = {camera: frames for camera, frames in episode.images.items() if camera in self.cameras}
        if not kept:
            lost = [why for camera, why in sorted(episode.lost_cameras.items()) if camera in self.cameras]
            there = "; ".join([f"its cameras are {sorted(episode.images)}", *lost])
            raise ValueError(f"it has none of the cameras {list(self.cameras)}; {there}")
        return kept


def hashed_split(name: str, val_share: float) -> str:
    """`val` or `train`. It depends on the name alone, so new episodes move no old one."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return "val" if int.from_bytes(digest, "big") < val_share * 2**64 else "train"


def reached_actions(states: AnyArray, actions: AnyArray, *, euler: bool) -> Floats:
    """(T, 7) measured states and (T-1, 7) commanded actions → (T-1, 7) actions that say what was reached.

    Each is the motion from one measured pose to the next: by `euler` the difference of position and Euler angles
    (wrapped to ±π), else what `apply_action` on the measured pose needs. The two agree only near yaw 0.
    """
    states = states.astype(np.float64)
    reached = np.array(actions, dtype=np.float64)
    if euler:
        moved = np.diff(states[:, :6], axis=0)
        moved[:, 3:] = (moved[:, 3:] + np.pi) % (2 * np.pi) - np.pi
        reached[:, :6] = moved
        return reached
    poses = [state_to_pose(state) for state in states]
    for t in range(len(reached)):
        reached[t, :6] = action_between(poses[t], poses[t + 1], poses[t])
    return reached


def binarize(gripper: AnyArray) -> Floats:
    """(T,) gripper actions → open (above 0.95) 1, closed (below 0.05) 0; between, the next decided value. Undecided
    values at the end become the last value as it is.

    Source: bridge_data_v2, `data/bridge_dataset.py`.
    """
    decided = np.asarray(gripper, dtype=np.float64).copy()
    carry = float(decided[-1])
    for t in range(len(decided) - 1, -1, -1):
        value = float(decided[t])
        carry = 1.0 if value > _OPEN else 0.0 if value < _CLOSED else carry
        decided[t] = carry
    return decided
