"""One recorded episode, as a reader hands it over and as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mqe_core import images

STATE_SIZE = 7  # x, y, z (m), roll, pitch, yaw (rad), gripper (1 open): BridgeData's measured state
ACTION_SIZE = 7  # dx, dy, dz (m), droll, dpitch, dyaw (rad), gripper target (1 open): BridgeData's commanded action


@dataclass(frozen=True)
class Episode:
    """T frames of one trajectory; action t leads from frame t to frame t+1, so there are T−1 of them.

    `images` maps a camera's number in the source (`images<c>`, `image_<c>`) to T images: encoded JPEG/PNG
    bytes or `(H, W, 3) uint8` RGB arrays. A camera the episode does not have is not in the mapping. Raises
    ValueError where lengths, shapes or values do not fit.
    """

    name: str  # where it came from, unique within a store
    states: np.ndarray  # (T, 7)
    actions: np.ndarray  # (T-1, 7)
    images: Mapping[int, Sequence[bytes | np.ndarray]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()  # the instructions it was labelled with; empty where it has no label

    def __post_init__(self) -> None:
        states, actions = np.asarray(self.states), np.asarray(self.actions)
        if states.ndim != 2 or states.shape[1] != STATE_SIZE:
            raise ValueError(f"expected states of shape (T, {STATE_SIZE}), got {states.shape}")
        if len(states) < 2:
            raise ValueError(f"expected at least 2 frames (one action and its successor), got {len(states)}")
        if actions.shape != (len(states) - 1, ACTION_SIZE):
            raise ValueError(
                f"expected {len(states) - 1} actions of size {ACTION_SIZE} for {len(states)} states, "
                f"got shape {actions.shape}"
            )
        for name, values in (("states", states), ("actions", actions)):
            if values.dtype.kind not in "fiub":
                raise ValueError(f"expected numeric {name}, got {values.dtype}")
            with np.errstate(over="ignore"):
                finite = np.isfinite(values.astype(np.float32))
            if not finite.all():
                raise ValueError(
                    f"{name} hold a value that is not finite in float32, "
                    f"first in step {int(np.argwhere(~finite)[0, 0])}"
                )
        for camera, frames in self.images.items():
            if camera < 0:
                raise ValueError(f"expected camera numbers from 0 up, got {camera}")
            if len(frames) != len(states):
                raise ValueError(f"camera {camera} has {len(frames)} images for {len(states)} states")


@dataclass(frozen=True)
class Skipped:
    """What an import left out, and why."""

    name: str
    reason: str
    episodes: int | None = 1  # how many it is about: 0 where there was none to lose, None where damage hides the number


@dataclass(frozen=True)
class EncodedEpisode:
    """What `encode_episode` makes: float32 arrays, and images as bytes that decode to the store's size."""

    name: str
    states: np.ndarray  # (T, 7) float32
    actions: np.ndarray  # (T-1, 7) float32
    images: dict[int, list[bytes]]
    languages: tuple[str, ...]
    enlarged: bool  # an image was stretched: the store shows more pixels than the source has


def encode_episode(episode: Episode, image_size: int) -> EncodedEpisode:
    """Bring all images to `(image_size, image_size)`.

    Bytes that already have that size are kept as they are; all others are squash-resized and stored as PNG,
    which loses nothing more. Every image is decoded once here, so that a damaged one is found now and not in
    the middle of a training run. Raises ValueError naming camera and frame where an image is damaged, or has
    another size than the first of its camera.
    """
    encoded = {}
    enlarged = False
    for camera, frames in sorted(episode.images.items()):
        encoded[camera], (height, width) = _encode_camera(camera, frames, image_size)
        enlarged |= min(height, width) < image_size
    return EncodedEpisode(
        name=episode.name,
        states=np.asarray(episode.states, dtype=np.float32),
        actions=np.asarray(episode.actions, dtype=np.float32),
        images=encoded,
        languages=tuple(episode.languages),
        enlarged=enlarged,
    )


def _encode_camera(
    camera: int, frames: Sequence[bytes | np.ndarray], image_size: int
) -> tuple[list[bytes], tuple[int, int]]:
    """The encoded frames, and the height and width they had."""
    encoded = []
    first_shape = None
    for t, frame in enumerate(frames):
        try:
            pixels = frame if isinstance(frame, np.ndarray) else images.decode(frame)
            resized = images.squash_resize(pixels, image_size)
        except ValueError as error:
            raise ValueError(f"camera {camera}, frame {t}: {error}") from error
        first_shape = first_shape or pixels.shape
        if pixels.shape != first_shape:
            raise ValueError(
                f"camera {camera}, frame {t}: image is {pixels.shape[1]}x{pixels.shape[0]} pixels, "
                f"the episode's first is {first_shape[1]}x{first_shape[0]}"
            )
        is_kept = isinstance(frame, bytes) and resized is pixels
        encoded.append(frame if is_kept else images.encode_png(resized))
    return encoded, first_shape[:2]
