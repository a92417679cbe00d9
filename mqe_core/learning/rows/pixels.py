"""One camera's images as observations: from memory where they fit, else decoded at each use, ahead of it if asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from mqe_core.data.frames import Frames
from mqe_core.data.store.decoding_pool import DecodingPool
from mqe_core.data.store.encoded_cache import EncodedCache
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.progress import Progress
from mqe_core.learning.rows.augmentation import ALL, Augmentation, ImageArray
from mqe_core.learning.rows.observations import Observations, ObservationSpec, by_name, stacked
from mqe_core.robot.arrays import Ints

logger = logging.getLogger(__name__)

DECODE_CHUNK = 512
AHEAD = 2  # batches that workers decode while one is in use: one that is ready, and one for those that are free


class PixelObservations(Observations):
    """One camera's images, decoded once into memory where they fit, else decoded at each use.

    With a GPU as ``device`` that memory is its own, and an update waits for no image. Where they do not fit, and the
    data is an EpisodeStore, ``workers`` processes decode the next batches meanwhile; 0: this process, when they are
    needed. Then ``cache_mb`` of the images as they are encoded lie in memory: all of them, or the first ones. Training
    frames change as ``augmentation`` says, on the device.
    """

    def __init__(
        self,
        store: Frames,
        camera: int,
        memory_limit_mb: float,
        *,
        augmentation: Augmentation,
        workers: int = 0,
        cache_mb: float = 0.0,
        progress: bool = True,
        device: torch.device = torch.device("cpu"),
    ) -> None:
        if camera not in store.cameras:
            raise ValueError(
                f"the store has cameras {list(store.cameras)}, not {camera}: set camera to one of them, or "
                "observation to state"
            )
        self._store, self._camera, self._augmentation, self._device = store, camera, augmentation, device
        self.available = store.has_image(camera)  # (N,) all frames of an episode, or none
        size = store.image_size
        self.spec = ObservationSpec("pixels", image_size=size)
        self._cache: ImageArray | None = None
        self._pool: DecodingPool | None = None
        self._workers = 0
        self._encoded: EncodedCache | None = None
        frames = np.flatnonzero(self.available)
        needed_mb = len(frames) * size * size * 3 / 2**20
        if needed_mb > memory_limit_mb:
            self._workers = workers if isinstance(store, EpisodeStore) else 0
            logger.warning(
                "%d images of %d pixels need %.0f MB, more than image_memory_mb = %.0f: decoding at each use%s",
                len(frames),
                size,
                needed_mb,
                memory_limit_mb,
                f", in {self._workers} processes ahead of it" if self._workers else ", which is slower",
            )
            if cache_mb and isinstance(store, EpisodeStore):
                self._encoded = store.cache_encoded(camera, round(cache_mb * 2**20), progress=progress)
            return
        if device.type == "cuda":
            _require_room(needed_mb, device)
        self._rows = np.cumsum(self.available) - 1  # of the cache, by frame: absent images take no memory
        cache = np.empty((len(frames), size, size, 3), dtype=np.uint8)
        with Progress(total=len(frames), desc="decoding images", unit="img", disable=not progress, leave=False) as bar:
            for chunk in np.array_split(frames, range(DECODE_CHUNK, len(frames), DECODE_CHUNK)):
                cache[self._rows[chunk]] = store.images(chunk, camera=camera)
                bar.update(len(chunk))
        self._cache = cache if device.type == "cpu" else torch.from_numpy(cache).to(device)

    @property
    def ahead(self) -> int:
        """:data:`AHEAD` where processes decode, else 0."""
        return AHEAD if self._workers else 0

    def take(self, indices: Ints) -> Tensor:
        return torch.as_tensor(self._images(indices))

    def begin_training_frames(
        self, rng: np.random.Generator, indices: Mapping[str, Ints], alike: Ints | None = None, own: slice = ALL
    ) -> Callable[[], dict[str, Tensor]]:
        """Shifted, cropped and changed in colour, where the augmentation says so."""
        wanted = stacked(indices)
        change = self._augmentation.draw(rng, wanted.shape[1], alike, own)
        images = self._begin(wanted[:, own])
        return lambda: by_name(indices, torch.as_tensor(change(images())))

    def close(self) -> None:
        """End the processes that decode."""
        if self._pool is not None:
            self._pool.close()
        if self._encoded is not None:
            self._encoded.close()
            self._encoded = None

    def _begin(self, wanted: Ints) -> Callable[[], ImageArray]:
        """``(...)`` -> what waits for ``(..., H, W, 3)``."""
        if not self._workers:
            return lambda: self._images(wanted)
        if self._pool is None:
            assert isinstance(self._store, EpisodeStore)
            most = wanted.size  # all batches of a run have one size
            self._pool = DecodingPool(
                self._store,
                self._camera,
                workers=self._workers,
                most_images=most,
                batches=AHEAD + 1,
                cache=self._encoded,
            )
        pool, ticket = self._pool, self._pool.ask(wanted.reshape(-1))
        return lambda: self._on_device(pool.take(ticket), wanted.shape)

    def _images(self, indices: Ints) -> ImageArray:
        """``(...) -> (..., H, W, 3)``, in an array or, on the GPU, in a tensor."""
        if isinstance(self._cache, Tensor):
            return self._cache[torch.from_numpy(self._rows[indices]).to(self._cache.device)]
        if self._cache is not None:
            return self._cache[self._rows[indices]]
        return self._on_device(self._store.images(indices.reshape(-1), camera=self._camera), indices.shape)

    def _on_device(self, images: np.ndarray, shape: tuple[int, ...]) -> ImageArray:
        """Images in a row, ``(n, H, W, 3)``, as ``(*shape, H, W, 3)``: an array on the CPU, else a tensor."""
        images = images.reshape(*shape, *images.shape[1:])
        if self._device.type == "cpu":
            return images
        # From pinned memory the copy runs beside what the GPU does; torch keeps that memory until it is over.
        return torch.from_numpy(images).pin_memory().to(self._device, non_blocking=True)


def _require_room(needed_mb: float, device: torch.device) -> None:
    """ValueError where the GPU's memory does not take the decoded images."""
    free_mb = torch.cuda.mem_get_info(device)[0] / 2**20
    if needed_mb > free_mb:
        raise ValueError(
            f"the decoded images take {needed_mb:.0f} MB, and the GPU has {free_mb:.0f} MB free: set image_memory_mb "
            "to less than they take, and they are decoded at each use"
        )
