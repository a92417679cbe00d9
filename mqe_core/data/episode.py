"""One recorded episode, as a reader hands it over and as the store keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from mqe_core import images
from mqe_core.robot.arrays import AnyArray, Float32s, Images
from mqe_core.robot.ranks import RANKS

STATE_SIZE = 7  # x, y, z (m), roll, pitch, yaw (rad), gripper (1 open): BridgeData's measured state
ACTION_SIZE = 7  # dx, dy, dz (m), droll, dpitch, dyaw (rad), gripper target (1 open): BridgeData's commanded action


@dataclass(frozen=True)
class Episode:
    """T frames of one trajectory; action t leads from frame t to frame t+1, so there are T−1 of them.

    `images` maps a camera's number in the source (`images<c>`, `image_<c>`) to T images: encoded JPEG or PNG bytes, or
    `(H, W, 3) uint8` RGB arrays. A camera that the episode lacks is not in the mapping. ValueError where lengths,
    shapes or values do not fit.
    """

    name: str  # where it came from, unique within a store
    states: AnyArray  # (T, 7) numbers
    actions: AnyArray  # (T-1, 7) numbers
    images: Mapping[int, Sequence[bytes | Images]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()  # the instructions it was labelled with; empty where it has no label
    unused_cameras: tuple[str, ...] = ()  # keys of the source that hold images which were not asked for
    split: str = ""  # the part of the data set that the source puts it in (train, val …); empty where it says nothing
    lost_cameras: Mapping[int, str] = field(default_factory=dict)  # those whose images end midway, with the reason
    commanders: tuple[str, ...] = ()  # T names of `ranks`: who moved the arm; empty where the source does not tell
    period_s: float | None = None  # between two frames, where the source says it

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
        if self.commanders and (len(self.commanders) != len(states) or not set(self.commanders) <= set(RANKS)):
            raise ValueError(f"expected {len(states)} commanders, each one of {', '.join(RANKS)}")


@dataclass(frozen=True)
class Skipped:
    """What an import left out, and why."""

    name: str
    reason: str
    episodes: int | None = 1  # how many were lost: 0 where there was none to lose, None where damage hides the number


@dataclass(frozen=True)
class EncodedEpisode:
    """What `encode_episode` makes: float32 arrays, and images as bytes that decode to the store's size."""

    name: str
    states: Float32s  # (T, 7)
    actions: Float32s  # (T-1, 7)
    images: dict[int, list[bytes]]
    languages: tuple[str, ...]
    enlarged: bool  # an image was stretched: the store shows more pixels than the source has
    even_cameras: tuple[int, ...] = ()  # those whose every image is of one even colour
    unused_cameras: tuple[str, ...] = ()  # as the episode's
    split: str = ""  # as the episode's
    lost_cameras: Mapping[int, str] = field(default_factory=dict)  # as the episode's
    commanders: tuple[str, ...] = ()  # as the episode's
    period_s: float | None = None  # as the episode's
    digest: bytes = b""  # tells numbers and images from those of other episodes

    @property
    def num_bytes(self) -> int:
        """What it takes in a store."""
        return self.states.nbytes + self.actions.nbytes + sum(map(len, sum(self.images.values(), [])))


def without_vanished(
    cameras: Mapping[int, Sequence[bytes | Images]], num_frames: int
) -> tuple[dict[int, Sequence[bytes | Images]], dict[int, str]]:
    """The cameras that have an image of every frame, and of the others why they are lost: a camera that vanishes midway
    costs that camera. ValueError where none is left.
    """
    lost = {}
    for camera, frames in cameras.items():
        there = sum(isinstance(frame, np.ndarray) or len(frame) > 0 for frame in frames)
        if there != num_frames or len(frames) != num_frames:
            lost[camera] = f"camera {camera} has {there} images for {num_frames} states"
    if lost and len(lost) == len(cameras):
        raise ValueError(lost[min(lost)])
    return {camera: frames for camera, frames in cameras.items() if camera not in lost}, lost


def encode_episode(episode: Episode, image_size: int, jpeg_quality: int | None = None) -> EncodedEpisode:
    """Bring all images to `(image_size, image_size)`.

    An encoded image that already has that size stays as it is. All others are squash-resized and stored as PNG, which
    loses nothing more, or as JPEG of the given quality. Every image is decoded once, so a damaged one is found here and
    not in the middle of a training run. ValueError, naming camera and frame, where an image is damaged or has another
    size than its camera's first.
    """
    encoded = {}
    enlarged = False
    even = []
    for camera, frames in sorted(episode.images.items()):
        encoded[camera], (height, width), shows_something = _encode_camera(camera, frames, image_size, jpeg_quality)
        enlarged |= min(height, width) < image_size
        even += [] if shows_something else [camera]
    states, actions = (np.asarray(numbers, dtype=np.float32) for numbers in (episode.states, episode.actions))
    digest = hashlib.blake2b(states.tobytes() + actions.tobytes(), digest_size=16)
    for frame in chain.from_iterable(encoded.values()):
        digest.update(frame)
    return EncodedEpisode(
        name=episode.name,
        states=states,
        actions=actions,
        images=encoded,
        languages=tuple(episode.languages),
        enlarged=enlarged,
        even_cameras=tuple(even),
        unused_cameras=episode.unused_cameras,
        split=episode.split,
        lost_cameras=dict(episode.lost_cameras),
        commanders=tuple(episode.commanders),
        period_s=episode.period_s,
        digest=digest.digest(),
    )


def _encode_camera(
    camera: int, frames: Sequence[bytes | Images], image_size: int, jpeg_quality: int | None
) -> tuple[list[bytes], tuple[int, int], bool]:
    """The encoded frames, the height and width they had, and whether one shows something; there are at least two."""
    encoded: list[bytes] = []
    shows_something = False
    first_shape: tuple[int, ...] = ()
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
        shows_something = shows_something or images.why_no_picture(resized) is None
        if isinstance(frame, bytes) and resized is pixels:
            encoded.append(frame)
        elif jpeg_quality is None:
            encoded.append(images.encode_png(resized))
        else:
            encoded.append(images.encode_jpeg(resized, jpeg_quality))
    height, width, _ = first_shape
    return encoded, (height, width), shows_something
