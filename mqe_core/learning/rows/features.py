"""Observations as the features of a frozen image encoder, computed once for every frame of a store.

An update on them costs a small part of one from pixels, so that several methods can be compared on one encoder. The
features are kept in the store's folder, for the next run that asks.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mqe_core.data.frames import Frames
from mqe_core.data.store.layout import FEATURES_FOLDER
from mqe_core.files.progress import Progress
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.rows.augmentation import ALL, random_crop
from mqe_core.learning.rows.observations import Observations, ObservationSpec, Statistics, rows_of, standardisation
from mqe_core.robot.arrays import Ints

logger = logging.getLogger(__name__)

CHUNK = 512  # images encoded at a time


class FeatureObservations(Observations):
    """One camera's images as features, ``(..., D) float32``. Of ``copies`` of each the first is plain, the others are
    of randomly shifted images; in training each row draws one, for all of its frames.
    """

    def __init__(
        self,
        store: Frames,
        camera: int,
        encoder: ImageEncoder,
        device: torch.device = torch.device("cpu"),
        *,
        copies: int = 1,
        padding: int = 0,
        progress: bool = True,
    ) -> None:
        """Encodes on ``device``; what lies in the store from the same weights, camera, copies and padding is used
        again.
        """
        self.available = store.has_image(camera)
        self.spec = ObservationSpec("features", image_size=store.image_size, state_dim=encoder.out_features)
        path = (
            store.path
            / FEATURES_FOLDER
            / f"{_digest(encoder)}-{store.fingerprint[:16]}-{camera}-{copies}-{padding}.npy"
        )
        kept = _kept(path, (copies, store.num_frames, encoder.out_features))
        if kept is None:
            encoder.to(device)
            features = np.stack(
                [_encode_all(store, camera, encoder, padding if copy else 0, copy, progress) for copy in range(copies)]
            )
            encoder.to("cpu")  # as it came
            _keep(features, path)
            self._features = features  # (copies, N, D) float16
        else:
            self._features = kept

    def take(self, indices: Ints) -> Tensor:
        return self.copy(0, indices)

    def copy(self, number: Ints | int, indices: Ints) -> Tensor:
        """``(...)`` frame numbers, and the copy of each -> ``(..., D)``."""
        return torch.from_numpy(self._features[number, indices].astype(np.float32))

    def begin_training_frames(
        self, rng: np.random.Generator, indices: Mapping[str, Ints], alike: Ints | None = None, own: slice = ALL
    ) -> Callable[[], dict[str, Tensor]]:
        """Of a copy that each row draws; ``alike`` has no say."""
        if len(self._features) == 1:
            return lambda: self.frames(rows_of(indices, own))
        copies = rng.integers(len(self._features), size=len(indices["observation"]))[own]
        return lambda: {name: self.copy(copies, frames) for name, frames in rows_of(indices, own).items()}

    def statistics(self) -> Statistics:
        """Over all frames that have an image, of the plain copy."""
        return standardisation(self._features[0][self.available].astype(np.float32))


def _kept(path: Path, shape: tuple[int, int, int]) -> np.ndarray | None:
    """What an earlier run has kept; None where there is none, or it is cut off or damaged."""
    if not path.exists():
        return None
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        logger.warning("%s: damaged (%s), so the images are encoded again", path, error)
        return None
    if not isinstance(features, np.ndarray) or features.shape != shape or features.dtype != np.float16:
        logger.warning("%s: not the features of this store, so the images are encoded again", path)
        return None
    return features


def _keep(features: np.ndarray, path: Path) -> None:
    """For the next run. A store that takes no files is no error: that run will encode again."""
    partial = path.with_suffix(f".{os.getpid()}.npy")  # two runs may start at once
    try:
        path.parent.mkdir(exist_ok=True)
        try:
            np.save(partial, features)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s is not kept for the next run: %s", path, error.strerror or error)


def _digest(encoder: nn.Module) -> str:
    """Sixteen characters that say which weights these are: a run that goes on has other ones."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _encode_all(
    store: Frames, camera: int, encoder: ImageEncoder, padding: int, seed: int, progress: bool
) -> np.ndarray:
    """``(N, D) float16``; every image is shifted by up to ``padding`` pixels, all of an episode alike."""
    frames = np.flatnonzero(store.has_image(camera))
    features = np.zeros((store.num_frames, encoder.out_features), dtype=np.float16)
    device = next(encoder.parameters()).device
    shifts = np.random.default_rng(seed).integers(0, 2 * padding + 1, size=(store.num_episodes, 2))
    shifts = np.repeat(shifts, np.diff(store.episode_ends, prepend=0), axis=0)
    with (
        torch.no_grad(),
        Progress(total=len(frames), desc="encoding images", unit="img", disable=not progress, leave=False) as bar,
    ):
        for chunk in np.array_split(frames, range(CHUNK, len(frames), CHUNK)):
            images = store.images(chunk, camera=camera)
            shifted = random_crop(images, shifts[chunk], padding) if padding else images
            features[chunk] = encoder(torch.as_tensor(shifted).to(device)).to(torch.float16).cpu().numpy()
            bar.update(len(chunk))
    return features
