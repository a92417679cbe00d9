"""EpisodeWriter: builds an EpisodeStore beside its place, and moves it there in one step when it is whole."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mqe_core import images
from mqe_core.data import store_layout as layout
from mqe_core.data.episode import ACTION_SIZE, EncodedEpisode, Episode, Skipped, encode_episode

log = logging.getLogger(__name__)

BRIDGE_CONTROL_HZ = 5.0  # BridgeData V2: one step is 0.2 s (bridge_data_robot, STEP_DURATION)
DOMAINS = ("real", "sim")  # where the pixels come from


class EpisodeWriter:
    """Writes episodes in the order they are added. Use as a context manager, or call `close` (or `abort`).

    Nothing exists at `path` before `close`, which flushes all files to disk and renames the finished folder
    into place. A crash leaves at most a folder named `.<name>.partial-…` beside it, which may be deleted.
    An existing store is kept until then, and replaced only with `overwrite=True` (a crash between the two
    renames leaves it as `.<name>.replaced-…`); anything else at `path` is never touched.
    Memory: states and actions only, images go straight to disk.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_size: int,
        source: str = "",
        format: str = "memory",
        domain: str = "real",
        control_hz: float = BRIDGE_CONTROL_HZ,
        overwrite: bool = False,
    ) -> None:
        if image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
        if domain not in DOMAINS:
            raise ValueError(f"domain must be one of {DOMAINS}, got {domain!r}")
        self.path = Path(path).resolve()
        _check_target(self.path, overwrite)
        self.image_size = image_size
        self._overwrite = overwrite
        self._head = {"source": source, "format": format, "domain": domain, "control_hz": float(control_hz)}
        self._names: dict[str, int] = {}
        self._languages: list[tuple[str, ...]] = []
        self._states: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._cameras: dict[int, _CameraFile] = {}
        self._num_frames = 0
        self._skipped: list[Skipped] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _warn_of_leftovers(self.path)
        self._folder: Path | None = _sibling(self.path, "partial")
        self._folder.mkdir()

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(self, exception_type: object, *_: object) -> None:
        if exception_type is None:
            self.close()
        else:
            self.abort()

    @property
    def num_episodes(self) -> int:
        return len(self._states)

    @property
    def num_frames(self) -> int:
        return self._num_frames

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(self._skipped)

    def add(self, episode: Episode | EncodedEpisode) -> None:
        """Append an episode.

        Raises ValueError where it does not fit (damaged image, name used twice); the store is then as before.
        """
        encoded = encode_episode(episode, self.image_size) if isinstance(episode, Episode) else episode
        if encoded.name in self._names:
            raise ValueError(f"an episode named {encoded.name!r} is already in the store; names must differ")
        num_steps = len(encoded.states)
        for camera, frames in encoded.images.items():
            if camera not in self._cameras:
                self._cameras[camera] = _CameraFile(self._open_folder() / layout.camera_file(camera), self._num_frames)
            self._cameras[camera].append(frames)
        for camera in self._cameras.keys() - encoded.images.keys():
            self._cameras[camera].append_absent(num_steps)
        self._names[encoded.name] = len(self._names)
        self._languages.append(encoded.languages)
        self._states.append(encoded.states)
        last = np.full((1, ACTION_SIZE), np.nan, dtype=np.float32)  # the last frame has no action
        self._actions.append(np.concatenate([encoded.actions, last]))
        self._num_frames += num_steps

    def skip(self, skipped: Skipped) -> None:
        """Record what was left out; it stands in the store's metadata."""
        self._skipped.append(skipped)

    def close(self) -> None:
        """Finish the store and move it into place.

        Raises ValueError (and leaves nothing) where no episode was added.
        """
        folder = self._open_folder()
        try:
            if not self._states:
                raise ValueError(f"no episode was added, {self.path} is not made")
            self._write(folder)
            self._move_into_place(folder)
        except BaseException:
            self.abort()
            raise
        self._folder = None

    def abort(self) -> None:
        """Throw away what was written so far. Does nothing after `close`."""
        for camera_file in self._cameras.values():
            camera_file.stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _open_folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"the writer of {self.path} is closed; make a new one")
        return self._folder

    def _write(self, folder: Path) -> None:
        files = {}
        for camera, camera_file in sorted(self._cameras.items()):
            files[layout.camera_file(camera)] = camera_file.finish()
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(camera_file.sizes))]).astype("<i8")
            files[layout.offsets_file(camera)] = _write_array(folder / layout.offsets_file(camera), offsets)
        ends = np.cumsum([len(states) for states in self._states]).astype("<i8")
        files[layout.ENDS_FILE] = _write_array(folder / layout.ENDS_FILE, ends)
        files[layout.STATES_FILE] = _write_array(
            folder / layout.STATES_FILE, np.concatenate(self._states).astype("<f4")
        )
        files[layout.ACTIONS_FILE] = _write_array(
            folder / layout.ACTIONS_FILE, np.concatenate(self._actions).astype("<f4")
        )
        episodes = [{"name": name, "languages": list(lines)} for name, lines in zip(self._names, self._languages)]
        files[layout.EPISODES_FILE] = _write_file(folder / layout.EPISODES_FILE, _json_bytes(episodes))
        metadata = {
            "kind": layout.KIND,
            "schema": layout.SCHEMA,
            **self._head,
            "image_size": self.image_size,
            "resize_rule": images.RESIZE_RULE,
            "cameras": sorted(self._cameras),
            "num_episodes": self.num_episodes,
            "num_frames": self.num_frames,
            "skipped": [asdict(skipped) for skipped in self._skipped],
            "files": files,
        }
        metadata["fingerprint"] = layout.compute_fingerprint(metadata)
        _write_file(folder / layout.METADATA_FILE, _json_bytes(metadata))
        _sync_folder(folder)

    def _move_into_place(self, folder: Path) -> None:
        _check_target(self.path, self._overwrite)
        old = None
        if self.path.exists():
            old = _sibling(self.path, "replaced")
            os.rename(self.path, old)
        try:
            os.rename(folder, self.path)
        except OSError:
            if old is not None:
                os.rename(old, self.path)
            raise
        _sync_folder(self.path.parent)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


class _CameraFile:
    """The .bin of one camera while it grows."""

    def __init__(self, path: Path, frames_before: int) -> None:
        self.stream: BinaryIO = open(path, "xb")
        self.sizes: list[np.ndarray] = [np.zeros(frames_before, dtype=np.int64)]  # bytes per frame, 0: absent
        self._digest = hashlib.sha256()

    def append(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.stream.write(frame)
            self._digest.update(frame)
        self.sizes.append(np.array([len(frame) for frame in frames], dtype=np.int64))

    def append_absent(self, num_frames: int) -> None:
        self.sizes.append(np.zeros(num_frames, dtype=np.int64))

    def finish(self) -> dict:
        _flush_to_disk(self.stream)
        entry = {"bytes": self.stream.tell(), "sha256": self._digest.hexdigest()}
        self.stream.close()
        return entry


def _check_target(path: Path, overwrite: bool) -> None:
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if not path.exists() or is_empty_folder:
        return
    if not layout.is_store(path):
        raise ValueError(f"{path} exists and is no EpisodeStore; it is left alone, choose another path")
    if not overwrite:
        raise ValueError(
            f"{path} already holds an EpisodeStore; choose another path, or replace it with --force (overwrite=True)"
        )


def _sibling(path: Path, role: str) -> Path:
    """A new name beside `path`, in the same file system: `.<name>.<role>-<random>`."""
    return path.parent / f".{path.name}.{role}-{secrets.token_hex(4)}"


def _warn_of_leftovers(path: Path) -> None:
    for entry in sorted(path.parent.iterdir()):
        if entry.name.startswith(f".{path.name}.partial-"):
            log.warning("%s: unfinished import; delete it unless that import still runs", entry)
        elif entry.name.startswith(f".{path.name}.replaced-"):
            log.warning("%s: the store that an interrupted --force was about to replace; rename or delete it", entry)


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode("utf-8")


def _write_array(file: Path, array: np.ndarray) -> dict:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return _write_file(file, buffer.getvalue())


def _write_file(file: Path, contents: bytes) -> dict:
    with open(file, "xb") as stream:
        stream.write(contents)
        _flush_to_disk(stream)
    return {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}


def _flush_to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
