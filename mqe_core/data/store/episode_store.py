"""EpisodeStore: flat arrays over all frames of all episodes, in a folder that is complete or does not open.

Files (all named with size and sha256 in `metadata.json`, which is written last):

    metadata.json        what the arrays mean, where they came from, what was skipped, fingerprint
    episodes.jsonl       a line of JSON per episode: its name and its language annotations
    episode_lines.npy    (E+1,) int64: episode i is the bytes [lines[i], lines[i+1]) of episodes.jsonl
    episode_ends.npy     (E,) int64, exclusive end frame of each episode
    states.npy           (N, 7) float32
    actions.npy          (N, 7) float32; the last frame of an episode has no action: NaN
    camera_<c>.bin       encoded images of camera c, one after the other
    camera_<c>_offsets.npy  (N+1,) int64: frame i is the bytes [offsets[i], offsets[i+1]); of no bytes: no image

A store that `mqe data append` has added to has such files in a folder for each addition as well, `part-<k>`. Here they
are one: frames and episodes of the parts follow each other.

Beside them training may leave features/, what frozen encoders made of the images. It is no part of the data and may be
deleted.

What an episode lacks (a camera, a label) is absent here too, never filled in.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mqe_core import images
from mqe_core.data.episode import EncodedEpisode, Skipped
from mqe_core.data.store import layout
from mqe_core.data.store.commanders import from_runs
from mqe_core.data.store.encoded_cache import EncodedCache
from mqe_core.data.store.metadata import damaged
from mqe_core.data.store.part import StorePart
from mqe_core.data.store.parts import read_parts
from mqe_core.data.store.verify import Verified, verify
from mqe_core.files.progress import Progress
from mqe_core.robot.arrays import AnyArray, Bools, Float32s, Images, Ints
from mqe_core.robot.ranks import OPERATOR

_CHUNK = 64  # images that one thread decodes at a go


class EpisodeStore:
    """Read access to a store; make one with `EpisodeStore.open`.

    Arrays are read-only and mapped from the disk; names and images are read when asked for. So opening takes little
    memory, whatever the store's size.
    """

    def __init__(self, path: Path, metadata: layout.Metadata, parts: Sequence[StorePart]) -> None:
        self.path = path
        self.metadata = metadata
        self._parts = tuple(parts)
        self._part_ends: Ints = np.cumsum([part.num_frames for part in parts])  # (parts,) frames, exclusive
        starts = self._part_ends - [part.num_frames for part in parts]
        self.episode_ends: Ints = _joined([part.episode_ends + start for part, start in zip(parts, starts)])  # (E,)
        self.cameras = tuple(metadata["cameras"])  # camera numbers as in the source

    @cached_property
    def names(self) -> list[str]:
        """One per episode."""
        return [episode["name"] for part in self._parts for episode in part.episodes()]

    @cached_property
    def languages(self) -> list[list[str]]:
        """Annotations per episode; empty: it has no label."""
        return [list(episode["languages"]) for part in self._parts for episode in part.episodes()]

    @cached_property
    def splits(self) -> list[str]:
        """Per episode; empty: it is of none."""
        return [str(episode.get("split", "")) for part in self._parts for episode in part.episodes()]

    @cached_property
    def operated(self) -> Bools:
        """(N,): an operator moved the arm. False also where the source did not tell who did."""
        operated = np.zeros(self.num_frames, dtype=bool)
        episodes = (episode for part in self._parts for episode in part.episodes())
        for start, end, episode in zip(self.episode_starts.tolist(), self.episode_ends.tolist(), episodes):
            if "commanders" in episode:
                operated[start:end] = [name == OPERATOR for name in self._commanders(episode, end - start)]
        operated.setflags(write=False)
        return operated

    @cached_property
    def states(self) -> Float32s:
        """(N, 7); on the disk where the store has one part."""
        return _joined([part.states for part in self._parts])

    @cached_property
    def actions(self) -> Float32s:
        """(N, 7), likewise."""
        return _joined([part.actions for part in self._parts])

    @cached_property
    def valid(self) -> Bools:
        """(N,): the frame has an action and a successor."""
        valid: Bools = np.ones(self.num_frames, dtype=bool)
        valid[self.episode_ends - 1] = False
        valid.setflags(write=False)
        return valid

    @classmethod
    def open(cls, path: str | Path) -> EpisodeStore:
        """Open and check the store in folder `path`: schema, sizes of all files, lengths of all arrays.

        ValueError names file and remedy.
        """
        metadata, parts = read_parts(Path(path))
        return cls(Path(path), metadata, [StorePart(folder, of_part) for folder, of_part in parts])

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        """N, over all episodes."""
        return int(self._part_ends[-1])

    @property
    def num_cameras(self) -> int:
        """How many cameras at least one episode has."""
        return len(self.cameras)

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""
        return int(self.metadata["image_size"])

    @property
    def control_hz(self) -> float:
        """Frames per second, one action each."""
        return float(self.metadata["control_hz"])

    @property
    def fingerprint(self) -> str:
        """Hash of the contents as hex, whatever the path, the machine or the time of the import."""
        return str(self.metadata["fingerprint"])

    @property
    def episode_starts(self) -> Ints:
        """(E,): the first frame of each episode."""
        return np.concatenate([[0], self.episode_ends[:-1]]).astype(np.int64)

    def has_image(self, camera: int = 0) -> Bools:
        """(N,): which frames have an image of this camera. Either all frames of an episode have one, or none."""
        self._require_camera(camera)
        return _joined([part.has_image(camera) for part in self._parts])

    def images(self, indices: Ints, camera: int = 0, *, workers: int | None = None, progress: bool = False) -> Images:
        """Images of the frames `indices` (n,) → `(n, H, W, 3) uint8` RGB, in the order asked for.

        Decodes in `workers` threads, by default as many as this process has cores; the result does not depend on their
        number. The whole store at once: `store.images(np.arange(store.num_frames))`. ValueError for an unknown camera,
        an index out of range, and an image that is absent (it names the episode).
        """
        frames = self._check_indices(indices, camera)
        size = self.image_size
        decoded = np.empty((len(frames), size, size, 3), dtype=np.uint8)

        def decode_chunk(start: int) -> None:
            chunk = frames[start : start + _CHUNK]
            of_part = np.searchsorted(self._part_ends, chunk, side="right")
            for number in np.unique(of_part):
                self._decode(int(number), chunk, np.flatnonzero(of_part == number), camera, decoded[start:])

        starts = range(0, len(frames), _CHUNK)
        if len(starts) <= 1:  # a thread pool costs more than it saves
            decode_chunk(0)
            return decoded
        # A bar that Ctrl-C meets half made complains as it goes; most callers, and all beside an arm, want none.
        bar = Progress(total=len(frames), unit="image", desc=f"decoding camera {camera}") if progress else None
        with (
            bar if bar is not None else contextlib.nullcontext(),
            ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool,
        ):
            for start, _ in zip(starts, pool.map(decode_chunk, starts)):
                if bar is not None:
                    bar.update(min(_CHUNK, len(frames) - start))
        return decoded

    def cache_encoded(self, camera: int, most_bytes: int, *, progress: bool = False) -> EncodedCache:
        """Hold the camera's encoded images in memory, or as many as `most_bytes` take. OSError where there is none."""
        self._require_camera(camera)
        files = [part.image_file(camera) for part in self._parts]
        cache = EncodedCache.fill([None if file is None else file.path for file in files], most_bytes, progress)
        self.use_encoded(camera, cache)
        return cache

    def use_encoded(self, camera: int, cache: EncodedCache) -> None:
        """Take the camera's encoded images from a cache of this store's, which another process may have made."""
        for part, held in zip(self._parts, cache.parts()):
            if (file := part.image_file(camera)) is not None:
                file.hold(held)

    def encoded_episode(self, number: int) -> EncodedEpisode:
        """Episode `number` as it stands here, its images as they are encoded."""
        end = int(self.episode_ends[number])
        start = int(self.episode_ends[number - 1]) if number else 0
        part_number = int(np.searchsorted(self._part_ends, start, side="right"))
        part = self._parts[part_number]
        first = start - self._start_of(part_number)
        encoded = {}
        for camera in part.cameras:
            frames = part.encoded(camera, np.arange(first, first + end - start))
            if frames[0]:
                encoded[camera] = frames
        [episode] = part.episodes(*self._numbers_in(part_number, number))
        states, actions = part.states[first : first + end - start], part.actions[first : first + end - start - 1]
        languages, split = tuple(episode["languages"]), str(episode.get("split", ""))
        commanders = self._commanders(episode, end - start)
        return EncodedEpisode(
            episode["name"], states, actions, encoded, languages, enlarged=False, split=split, commanders=commanders
        )

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What the import left out."""
        return tuple(Skipped(**entry) for entry in self.metadata["skipped"])

    def verify(self, *, progress: bool = False) -> Verified:
        """Read every file and compare its checksums with those of its writing, block by block on all cores.

        ValueError names what changed: file, frames, episodes.
        """
        return verify(self._parts, progress)

    def _commanders(self, episode: dict[str, Any], frames: int) -> tuple[str, ...]:
        """(frames,) names, or none where the store does not tell them."""
        try:
            return from_runs(episode.get("commanders", []), frames)
        except ValueError as error:
            raise damaged(self.path / layout.EPISODES_FILE, str(error)) from error

    def _require_camera(self, camera: int) -> None:
        if camera not in self.cameras:
            raise ValueError(f"{self.path} has no camera {camera}; its cameras are {list(self.cameras)}")

    def _start_of(self, part: int) -> int:
        """The part's first frame."""
        return int(self._part_ends[part]) - self._parts[part].num_frames

    def _numbers_in(self, part: int, number: int) -> tuple[int, int]:
        """Episode `number` of the store in the count of its part, and the one after it."""
        before = sum(len(earlier.episode_ends) for earlier in self._parts[:part])
        return number - before, number - before + 1

    def _check_indices(self, indices: Ints, camera: int) -> Ints:
        self._require_camera(camera)
        frames = np.asarray(indices)
        if frames.ndim != 1 or (frames.size and frames.dtype.kind not in "iu"):
            raise ValueError(f"expected a 1-D array of frame numbers, got {frames.dtype} {frames.shape}")
        frames = frames.astype(np.int64)
        if frames.size and (frames.min() < 0 or frames.max() >= self.num_frames):
            raise ValueError(f"frame numbers must be in [0, {self.num_frames}), got {frames.min()} … {frames.max()}")
        of_part = np.searchsorted(self._part_ends, frames, side="right")
        absent = np.zeros(len(frames), dtype=bool)
        for number in np.unique(of_part):
            part, rows = self._parts[number], np.flatnonzero(of_part == number)
            absent[rows] = ~part.has_image(camera, frames[rows] - self._start_of(number))
        if absent.any():
            frame = int(frames[np.argmax(absent)])
            episode = int(np.searchsorted(self.episode_ends, frame, side="right"))
            raise ValueError(
                f"episode {episode} ({self.names[episode]}) has no images of camera {camera}, frame {frame}; "
                f"has_image({camera}) says which frames have one"
            )
        return frames

    def _decode(self, part_number: int, frames: Ints, rows: Ints, camera: int, decoded: Images) -> None:
        """Put the images of `frames[rows]`, which are of one part, into `decoded[rows]`."""
        part = self._parts[part_number]
        file, size = part.path / layout.camera_file(camera), self.image_size
        numbers = frames[rows] - self._start_of(part_number)
        for row, frame, encoded in zip(rows.tolist(), numbers.tolist(), part.encoded(camera, numbers)):
            try:
                pixels = images.decode(encoded)
            except ValueError as error:
                raise damaged(file, f"frame {frame}: {error}") from error
            if pixels.shape != (size, size, 3):
                raise damaged(file, f"frame {frame} decodes to {pixels.shape}, expected {size} pixels square")
            decoded[row] = pixels


def _joined(arrays: Sequence[AnyArray]) -> AnyArray:
    """One after the other, read-only; an only one as it is."""
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    joined.setflags(write=False)
    return joined
