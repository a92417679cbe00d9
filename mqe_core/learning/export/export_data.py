"""The images on which an export is checked and measured: those that the run learned from, or episodes kept apart."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.layout import is_store
from mqe_core.policy.golden_images import counter_image
from mqe_core.robot.arrays import Images

# image pairs from the data (or of noise, where the data is gone) on which torch and onnxruntime must agree
PARITY_PAIRS = 48
NOISE_PAIRS = 16

logger = logging.getLogger(__name__)


def open_data(metadata: dict[str, Any], data: str | Path | None) -> EpisodeStore | None:
    """The store of the run; None, with a warning, where it is gone. ValueError where `data` is another one."""
    path = Path(data) if data is not None else Path(metadata["data"]["path"])
    if data is None and not is_store(path):  # also the folder of a disk that is not mounted
        logger.warning(
            "the training data is gone from %s: checking on noise images alone, and measuring no thresholds; "
            "--data says where it is now",
            path,
        )
        return None
    store = EpisodeStore.open(path)
    if store.fingerprint != metadata["data"]["fingerprint"]:
        raise ValueError(
            f"{path} is not the data of this run (fingerprint {store.fingerprint}); give the store it was "
            "trained on as --data"
        )
    return store


def open_held_out(metadata: dict[str, Any], path: str | Path) -> EpisodeStore:
    """The store at `path`. ValueError where it does not fit the run, or holds what the run learned from, as far as its
    data is still there.
    """
    store, trained = EpisodeStore.open(path), metadata["data"]
    for name, found, wanted in (
        ("image size", store.image_size, metadata["observation"]["image_size"]),
        ("domain", store.metadata["domain"], trained["metadata"]["domain"]),
        ("rate", store.control_hz, trained["metadata"]["control_hz"]),
    ):
        if found != wanted:
            raise ValueError(
                f"{path} has {name} {found}, the run was trained on {wanted}: import episodes alike for --held-out"
            )
    seen = set(_episode_hashes(EpisodeStore.open(trained["path"]))) if Path(trained["path"]).exists() else set()
    shared = sum(episode in seen for episode in _episode_hashes(store))
    if shared:
        raise ValueError(
            f"{path} shares {shared} episodes with the data of this run, which holds out a part of its own: leave "
            "out --held-out"
        )
    return store


def _episode_hashes(store: EpisodeStore) -> list[bytes]:
    """Of each episode's states: names differ with the folder that was imported."""
    return [hashlib.sha256(states.tobytes()).digest() for states in np.split(store.states, store.episode_ends[:-1])]


def image_pairs(store: EpisodeStore | None, camera: int, size: int) -> tuple[Images, Images]:
    """(n, S, S, 3) uint8 observations and goals: frames of the training data with the last frame of their
    episode, and noise.
    """
    noise = np.stack([counter_image(size, 2 + i) for i in range(2 * NOISE_PAIRS)])
    if store is None:
        return noise[:NOISE_PAIRS], noise[NOISE_PAIRS:]
    candidates = np.flatnonzero(store.has_image(camera))
    frames = candidates[np.linspace(0, len(candidates) - 1, min(PARITY_PAIRS, len(candidates))).astype(int)]
    ends = store.episode_ends[np.searchsorted(store.episode_ends, frames, side="right")] - 1
    observations, goals = store.images(frames, camera=camera), store.images(ends, camera=camera)
    return np.concatenate([observations, noise[:NOISE_PAIRS]]), np.concatenate([goals, noise[NOISE_PAIRS:]])
