"""EpisodeStore: flat arrays over all frames of all episodes, in a folder that is complete or does not open.

Files (all named with size and sha256 in `metadata.json`, which is written last):

    metadata.json        what the arrays mean, where they came from, what was skipped, fingerprint
    episodes.json        per episode its name and its language annotations
    episode_ends.npy     (E,) int64, exclusive end frame of each episode
    states.npy           (N, 7) float32
    actions.npy          (N, 7) float32; the last frame of an episode has no action: NaN
    camera_<c>.bin       encoded images of camera c, one after the other
    camera_<c>_offsets.npy  (N+1,) int64: frame i is bytes [offsets[i], offsets[i+1]); none: no image

Beside them training may leave features/, what frozen encoders made of the images; it is no part of the data and may be deleted.

What an episode lacks (a camera, a label) is absent here too, never filled in.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mqe_core import images
from mqe_core.data import store_layout as layout
from mqe_core.data.episode import ACTION_SIZE, STATE_SIZE, EncodedEpisode, Episode, Skipped
from mqe_core.data.episode_writer import EpisodeWriter

__all__ = ["Episode", "EpisodeStore", "EpisodeWriter"]  # a store, what goes in, and what builds it

_CHUNK = 64  # images that one thread decodes at a go


class EpisodeStore:
    """Read access to a store; make one with `EpisodeStore.open`.

    Arrays are read-only; images are decoded when asked for.
    """

    def __init__(self, path: Path, metadata: dict, episodes: list[dict], arrays: dict[str, np.ndarray]) -> None:
        self.path = path
        self.metadata = metadata
        self.names = [episode["name"] for episode in episodes]
        self.languages = [list(episode["languages"]) for episode in episodes]  # per episode its annotations, maybe none
        self.episode_ends = arrays["episode_ends"]  # (E,) int64, exclusive
        self.states = arrays["states"]  # (N, 7) float32
        self.actions = arrays["actions"]  # (N, 7) float32
        self.valid = np.ones(len(self.states), dtype=bool)  # (N,) the frame has an action and a successor
        self.valid[self.episode_ends - 1] = False
        self.valid.setflags(write=False)
        self.cameras = tuple(metadata["cameras"])  # camera numbers as in the source
        self._offsets = {c: arrays[f"camera_{c}_offsets"] for c in self.cameras}
        self._encoded = {
            c: np.memmap(path / layout.camera_file(c), dtype=np.uint8, mode="r").view(np.ndarray) for c in self.cameras
        }

    @classmethod
    def open(cls, path: str | Path) -> EpisodeStore:
        """Open and check the store in folder `path`: schema, sizes of all files, lengths of all arrays.

        ValueError names file and remedy.
        """
        path = Path(path)
        metadata = _read_metadata(path)
        for name, entry in metadata["files"].items():
            size = (path / name).stat().st_size if (path / name).is_file() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise _damaged(path / name, f"expected {entry['bytes']} bytes, the file {found}")
        arrays = {name[:-4]: _load_array(path / name) for name in metadata["files"] if name.endswith(".npy")}
        try:
            episodes = json.loads((path / layout.EPISODES_FILE).read_text(encoding="utf-8"))
        except ValueError as error:
            raise _damaged(path / layout.EPISODES_FILE, str(error)) from error
        _check_arrays(path, metadata, episodes, arrays)
        return cls(path, metadata, episodes, arrays)

    @property
    def num_episodes(self) -> int:
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        return len(self.states)

    @property
    def num_cameras(self) -> int:
        return len(self.cameras)

    @property
    def image_size(self) -> int:
        """Height and width of every image in pixels."""
        return self.metadata["image_size"]

    @property
    def control_hz(self) -> float:
        return self.metadata["control_hz"]

    @property
    def fingerprint(self) -> str:
        """Hash of the contents as hex, whatever the path, the machine or the time of the import."""
        return self.metadata["fingerprint"]

    @property
    def episode_starts(self) -> np.ndarray:
        """(E,) int64: the first frame of each episode."""
        return np.concatenate([[0], self.episode_ends[:-1]]).astype(np.int64)

    def has_image(self, camera: int = 0) -> np.ndarray:
        """(N,) bool: which frames have an image of this camera (all frames of an episode, or none)."""
        return np.diff(self._camera_offsets(camera)) > 0

    def images(
        self, indices: np.ndarray, camera: int = 0, *, workers: int | None = None, progress: bool = False
    ) -> np.ndarray:
        """Images of the frames `indices` (n,) → `(n, H, W, 3) uint8` RGB, in the order asked for.

        Decodes in `workers` threads (default: all cores of this process); the result does not depend on their
        number. The whole store at once: `store.images(np.arange(store.num_frames))`. Raises ValueError for an
        unknown camera, an index out of range, and an image that is absent (naming the episode).
        """
        offsets = self._camera_offsets(camera)
        frames = self._check_indices(indices, camera, offsets)
        size = self.image_size
        decoded = np.empty((len(frames), size, size, 3), dtype=np.uint8)

        def decode_chunk(start: int) -> None:
            for k in range(start, min(start + _CHUNK, len(frames))):
                decoded[k] = self._decode(int(frames[k]), camera, offsets)

        starts = range(0, len(frames), _CHUNK)
        with tqdm(total=len(frames), unit="image", desc=f"decoding camera {camera}", disable=not progress) as bar:
            if len(starts) <= 1:  # a thread pool costs more than it saves
                decode_chunk(0)
            else:
                with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
                    for start, _ in zip(starts, pool.map(decode_chunk, starts)):
                        bar.update(min(_CHUNK, len(frames) - start))
        return decoded

    def encoded_episode(self, number: int) -> EncodedEpisode:
        """Episode `number` as it stands here, its images as they are encoded."""
        end = int(self.episode_ends[number])
        start = int(self.episode_ends[number - 1]) if number else 0
        encoded = {}
        for camera in self.cameras:
            offsets = self._offsets[camera][start : end + 1]
            if offsets[-1] > offsets[0]:
                encoded[camera] = [
                    self._encoded[camera][first:last].tobytes() for first, last in zip(offsets, offsets[1:])
                ]
        states, actions = self.states[start:end], self.actions[start : end - 1]
        return EncodedEpisode(
            self.names[number], states, actions, encoded, tuple(self.languages[number]), enlarged=False
        )

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What the import left out."""
        return tuple(Skipped(**entry) for entry in self.metadata["skipped"])

    def verify(self) -> None:
        """Read every file and compare its sha256 with the one it was written with.

        Raises ValueError naming the file that was altered.
        """
        for name, entry in self.metadata["files"].items():
            if _sha256(self.path / name) != entry["sha256"]:
                raise _damaged(self.path / name, "the contents changed since the import (sha256 differs)")

    def _camera_offsets(self, camera: int) -> np.ndarray:
        if camera not in self._offsets:
            raise ValueError(f"{self.path} has no camera {camera}; its cameras are {list(self.cameras)}")
        return self._offsets[camera]

    def _check_indices(self, indices: np.ndarray, camera: int, offsets: np.ndarray) -> np.ndarray:
        frames = np.asarray(indices)
        if frames.ndim != 1 or (frames.size and frames.dtype.kind not in "iu"):
            raise ValueError(f"expected a 1-D array of frame numbers, got {frames.dtype} {frames.shape}")
        frames = frames.astype(np.int64)
        if frames.size and (frames.min() < 0 or frames.max() >= self.num_frames):
            raise ValueError(f"frame numbers must be in [0, {self.num_frames}), got {frames.min()} … {frames.max()}")
        absent = offsets[frames] == offsets[frames + 1]
        if absent.any():
            frame = int(frames[np.argmax(absent)])
            episode = int(np.searchsorted(self.episode_ends, frame, side="right"))
            raise ValueError(
                f"episode {episode} ({self.names[episode]}) has no images of camera {camera}, frame {frame}; "
                f"has_image({camera}) says which frames have one"
            )
        return frames

    def _decode(self, frame: int, camera: int, offsets: np.ndarray) -> np.ndarray:
        file = self.path / layout.camera_file(camera)
        try:
            pixels = images.decode(self._encoded[camera][offsets[frame] : offsets[frame + 1]].tobytes())
        except ValueError as error:
            raise _damaged(file, f"frame {frame}: {error}") from error
        if pixels.shape != (self.image_size, self.image_size, 3):
            raise _damaged(file, f"frame {frame} decodes to {pixels.shape}, expected {self.image_size} pixels square")
        return pixels


def _read_metadata(path: Path) -> dict:
    if not path.is_dir():
        raise ValueError(f"{path} is no folder; expected an EpisodeStore made by `mqe data import SRC --out {path}`")
    if not layout.is_store(path):
        raise ValueError(
            f"{path} is no EpisodeStore (it has no readable {layout.METADATA_FILE}); "
            "make one with `mqe data import SRC --out STORE`"
        )
    metadata = json.loads((path / layout.METADATA_FILE).read_text(encoding="utf-8"))
    if metadata.get("schema") != layout.SCHEMA:
        raise ValueError(
            f"{path / layout.METADATA_FILE}: store schema {metadata.get('schema')!r}, "
            f"this version reads {layout.SCHEMA}; import the source again"
        )
    missing = sorted(layout.METADATA_KEYS - metadata.keys())
    if missing:
        raise _damaged(path / layout.METADATA_FILE, f"keys missing: {', '.join(missing)}")
    needed = layout.data_files(metadata["cameras"])
    if needed != set(metadata["files"]):
        raise _damaged(
            path / layout.METADATA_FILE,
            f"lists the files {sorted(metadata['files'])}, expected {sorted(needed)}",
        )
    if metadata["fingerprint"] != layout.compute_fingerprint(metadata):
        raise _damaged(path / layout.METADATA_FILE, "the fingerprint does not fit what it describes")
    return metadata


def _check_arrays(path: Path, metadata: dict, episodes: list, arrays: dict[str, np.ndarray]) -> None:
    num_episodes, num_frames = metadata["num_episodes"], metadata["num_frames"]
    expected = {
        "episode_ends": ((num_episodes,), np.int64),
        "states": ((num_frames, STATE_SIZE), np.float32),
        "actions": ((num_frames, ACTION_SIZE), np.float32),
    }
    expected.update({f"camera_{camera}_offsets": ((num_frames + 1,), np.int64) for camera in metadata["cameras"]})
    for name, (shape, dtype) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            raise _damaged(path / f"{name}.npy", f"expected {np.dtype(dtype)} {shape}, got {found}")
    if len(episodes) != num_episodes:
        raise _damaged(path / layout.EPISODES_FILE, f"expected {num_episodes} episodes, got {len(episodes)}")
    ends = arrays["episode_ends"]
    lengths = np.diff(ends, prepend=0)
    if num_episodes < 1 or ends[-1] != num_frames or lengths.min() < 2:
        raise _damaged(path / "episode_ends.npy", f"expected ends that rise by at least 2 up to {num_frames}")
    is_last = np.zeros(num_frames, dtype=bool)
    is_last[ends - 1] = True
    if (np.isnan(arrays["actions"]).all(axis=1) != is_last).any() or not np.isfinite(arrays["actions"][~is_last]).all():
        raise _damaged(path / "actions.npy", "expected NaN in the last frame of each episode and nowhere else")
    for camera in metadata["cameras"]:
        name = f"camera_{camera}_offsets"
        sizes = np.diff(arrays[name])
        if (
            arrays[name][0] != 0
            or sizes.min() < 0
            or arrays[name][-1] != metadata["files"][layout.camera_file(camera)]["bytes"]
        ):
            raise _damaged(path / f"{name}.npy", f"offsets do not rise from 0 to the size of camera_{camera}.bin")
        if (np.repeat(sizes[ends - lengths] > 0, lengths) != (sizes > 0)).any():
            raise _damaged(path / f"{name}.npy", "an episode has images of only some of its frames")


def _load_array(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _damaged(file, str(error)) from error
    array.setflags(write=False)
    return array


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"{file}: {what}; the store is damaged, import its source again (mqe data import … --force)")
