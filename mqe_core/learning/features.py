"""Observations as the features of a frozen image encoder, computed once for every frame of a store.

An update on them costs a small part of one from pixels, so that several methods can be compared on one encoder. The features are kept in
the store's folder, for the next run that asks.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mqe_core.data.episode_store import EpisodeStore
from mqe_core.data.store_layout import FEATURES_FOLDER
from mqe_core.learning.actor import GoalActor
from mqe_core.learning.augmentation import random_crop
from mqe_core.learning.networks import ImageEncoder
from mqe_core.learning.observations import MIN_STATE_STD, ObservationSpec

CHUNK = 512  # images encoded at a time


class FeatureObservations:
    """One camera's images as features, ``take`` gives float32; ``copies`` after the first are of randomly shifted images."""

    def __init__(
        self, store: EpisodeStore, camera: int, encoder: ImageEncoder, device: torch.device = torch.device("cpu"), *,
        copies: int = 1, padding: int = 0, progress: bool = True,
    ) -> None:  # fmt: skip
        """Encodes on ``device``; what lies in the store from the same weights, camera, copies and padding is used again."""
        self.available = store.has_image(camera)
        self.spec = ObservationSpec("features", image_size=store.image_size, state_dim=encoder.out_features)
        path = (
            store.path
            / FEATURES_FOLDER
            / f"{_digest(encoder)}-{store.fingerprint[:16]}-{camera}-{copies}-{padding}.npy"
        )
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            encoder.to(device)
            features = np.stack(
                [_encode_all(store, camera, encoder, padding if copy else 0, copy, progress) for copy in range(copies)]
            )
            encoder.to("cpu")  # as it came
            partial = path.with_suffix(f".{os.getpid()}.npy")  # two runs may start at once
            try:
                np.save(partial, features)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        self._features = np.load(path)  # (copies, N, D) float16

    def take(self, indices: np.ndarray, copies: np.ndarray | int = 0) -> np.ndarray:
        """``(n,)`` frame indices, and the copy of each (the plain one by default) -> ``(n, D) float32``."""
        return self._features[copies, indices].astype(np.float32)

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation over all frames that have an image, each ``(D,) float32``."""
        plain = self._features[0][self.available].astype(np.float32)
        return plain.mean(0), np.maximum(plain.std(0), MIN_STATE_STD)


def _digest(encoder: nn.Module) -> str:
    """Sixteen characters that say which weights these are: a run that goes on has other ones."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _encode_all(
    store: EpisodeStore, camera: int, encoder: ImageEncoder, padding: int, seed: int, progress: bool
) -> np.ndarray:
    """``(N, D) float16``; every image is shifted by up to ``padding`` pixels, all of an episode alike."""
    frames = np.flatnonzero(store.has_image(camera))
    features = np.zeros((store.num_frames, encoder.out_features), dtype=np.float16)
    device = encoder.dense.weight.device
    shifts = np.random.default_rng(seed).integers(0, 2 * padding + 1, size=(store.num_episodes, 2))
    shifts = np.repeat(shifts, np.diff(store.episode_ends, prepend=0), axis=0)
    with (
        torch.no_grad(),
        tqdm(total=len(frames), desc="encoding images", unit="img", disable=not progress, leave=False) as bar,
    ):
        for chunk in np.array_split(frames, range(CHUNK, len(frames), CHUNK)):
            images = store.images(chunk, camera=camera)
            if padding:
                images = random_crop(images, shifts[chunk], padding)
            features[chunk] = encoder(torch.from_numpy(images).to(device)).to(torch.float16).cpu().numpy()
            bar.update(len(chunk))
    return features


def copy_policy(source: GoalActor, target: GoalActor) -> None:
    """Let a policy on features begin as the one that trained their encoder: ``target`` then answers as ``source`` did from pixels.

    Weights of the first layer take up the standardisation of the features. ValueError where the layers differ.
    """
    weights = source.head.network.state_dict()
    mean, std = (
        values.repeat(2).to(weights["hidden.0.weight"])
        for values in (target.encoder.encoder.mean, target.encoder.encoder.std)
    )
    weights["hidden.0.bias"] = weights["hidden.0.bias"] + weights["hidden.0.weight"] @ mean
    weights["hidden.0.weight"] = weights["hidden.0.weight"] * std
    outputs = target.head.network.head.out_features  # those of actions stand first, landmarks after them
    weights["head.weight"], weights["head.bias"] = weights["head.weight"][:outputs], weights["head.bias"][:outputs]
    if source.head.components != 1 or target.head.components != 1:
        raise ValueError("actor_from_encoder needs policies of one component (actor_components=1)")
    try:
        target.head.network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"actor_from_encoder needs the policy's layers as the encoder's run has them ({error})"
        ) from error
