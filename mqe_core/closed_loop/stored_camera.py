"""The mock camera backend: the frames of one stored episode, shown again and again.

It stands above both `data` and `runtime`, which do not import each other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.robot.arrays import Images
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.loopback import ReplayCamera
from mqe_core.runtime.robot import Clock


def replay_camera(
    spec: RobotSpec,
    *,
    clock: Clock,
    episodes: str | Path,
    domain: str,
    episode: int = 0,
    hz: float | None = None,
) -> ReplayCamera:
    """A camera that shows episode number `episode` of the store at `episodes`, camera 0.

    `hz` is its frame rate; the control rate where it is not given.
    """
    return ReplayCamera(spec, clock=clock, frames=episode_frames(episodes, episode), domain=domain, hz=hz)


def episode_frames(path: str | Path, episode: int) -> Images:
    """(n, H, W, 3) uint8 RGB: the frames of one episode, camera 0. Raises ValueError where there is no such episode."""
    store = EpisodeStore.open(path)
    if not 0 <= episode < store.num_episodes:
        raise ValueError(
            f"{path}: episode {episode} does not exist; the store has episodes 0 to {store.num_episodes - 1}"
        )
    begin = int(store.episode_ends[episode - 1]) if episode > 0 else 0
    return store.images(np.arange(begin, int(store.episode_ends[episode])))


def store_domain(path: str | Path) -> str:
    """What the images of the store at `path` show: sim or real."""
    return str(EpisodeStore.open(path).metadata["domain"])
