"""EpisodeWriter: builds an EpisodeStore beside its place, and moves it there when it is whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from mqe_core import images
from mqe_core.data.episode import ACTION_SIZE, EncodedEpisode, Episode, Skipped, encode_episode
from mqe_core.data.store import layout
from mqe_core.data.store.checksums import FileEntry
from mqe_core.data.store.commanders import runs_of
from mqe_core.data.store.episodes import write_lines
from mqe_core.data.store.files import CameraFile, json_bytes, write_array, write_file
from mqe_core.data.store.place import StorePlace
from mqe_core.files.disk import sync_folder, writing
from mqe_core.policy.domain import REAL, require_domain
from mqe_core.robot.arrays import Float32s

_MOST_PIXELS = 4096  # of a side; as much as a policy takes
BRIDGE_CONTROL_HZ = 5.0  # BridgeData V2: one step is 0.2 s (bridge_data_robot, STEP_DURATION)


class EpisodeWriter:
    """Writes episodes in the order they are added. Use as a context manager, or call `close` (or `abort`).

    Nothing exists at `path` before `close`. It flushes all files to disk and renames the finished folder into place. A
    crash leaves at most a folder `.<name>.partial-…` beside it, which may be deleted. A store that is there already
    stays until `close`, and is replaced only with `overwrite=True`; a crash between the two renames leaves it as
    `.<name>.replaced-…`. Anything else at `path` is never touched. Memory holds states and actions only: images go
    straight to disk.

    An empty folder at `path` is kept, as it may be a disk of its own: the store grows in `.partial-…` inside it, and
    its files are moved up one by one, the metadata last. Without the metadata there is no store.

    ValueError or WriteError, before anything is written, where the store cannot be made there: something else stands
    there, it takes no files, or has less than `expected_bytes` free.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image_size: int,
        source: str = "",
        format: str = "memory",
        domain: str = REAL,
        control_hz: float = BRIDGE_CONTROL_HZ,
        overwrite: bool = False,
        expected_bytes: int = 0,
        jpeg_quality: int | None = None,
    ) -> None:
        if not 1 <= image_size <= _MOST_PIXELS:
            raise ValueError(f"image_size must be at least 1 pixel and at most {_MOST_PIXELS}, got {image_size}")
        require_domain(domain, str(path))
        self.path = Path(path).resolve()
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise ValueError(f"--jpeg-quality {jpeg_quality}: expected 1 to 100")
        self.image_size = image_size
        self.jpeg_quality = jpeg_quality  # of images that are resized; None: PNG
        self._head: dict[str, object] = {
            "source": source,
            "format": format,
            "domain": domain,
            "control_hz": float(control_hz),
            **({} if jpeg_quality is None else {"jpeg_quality": jpeg_quality}),
        }
        self._names: dict[str, int] = {}
        self._languages: list[tuple[str, ...]] = []
        self._splits: list[str] = []
        self._commanders: list[tuple[str, ...]] = []
        self._states: list[Float32s] = []
        self._actions: list[Float32s] = []
        self._cameras: dict[int, CameraFile] = {}
        self._num_frames = 0
        self._skipped: list[Skipped] = []
        self._place: StorePlace | None = self._make_place(overwrite, expected_bytes)

    def __enter__(self) -> EpisodeWriter:
        return self

    def __exit__(self, exception_type: object, *_: object) -> None:
        if exception_type is None:
            self.close()
        elif self._place is not None:
            self._give_up()

    @property
    def num_episodes(self) -> int:
        """Added so far."""
        return len(self._states)

    @property
    def num_frames(self) -> int:
        """Of all episodes that were added."""
        return self._num_frames

    @property
    def num_bytes(self) -> int:
        """Of all images, states and actions."""
        numbers = (array.nbytes for arrays in (self._states, self._actions) for array in arrays)
        return sum(numbers) + sum(file.point().num_bytes for file in self._cameras.values())

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was recorded as left out."""
        return tuple(self._skipped)

    def add(self, episode: Episode | EncodedEpisode) -> None:
        """Append an episode.

        ValueError where it does not fit (a damaged image, a name used twice); the store is then as before. WriteError
        where the disk does not take it; then only `abort` helps.
        """
        encoded = self._encoded(episode)
        if encoded.name in self._names:
            raise ValueError(f"an episode named {encoded.name!r} is already in the store; names must differ")
        num_steps = len(encoded.states)
        for camera, frames in encoded.images.items():
            with writing(self.path):
                if camera not in self._cameras:
                    file = self._require_open().folder / layout.camera_file(camera)
                    self._cameras[camera] = CameraFile(file, self._num_frames)
                self._cameras[camera].append(frames)
        for camera in self._cameras.keys() - encoded.images.keys():
            self._cameras[camera].append_absent(num_steps)
        self._register(encoded)

    def _encoded(self, episode: Episode | EncodedEpisode) -> EncodedEpisode:
        if isinstance(episode, EncodedEpisode):
            return episode
        return encode_episode(episode, self.image_size, self.jpeg_quality)

    def _register(self, encoded: EncodedEpisode) -> None:
        """Note everything of an episode but its images."""
        self._names[encoded.name] = len(self._names)
        self._languages.append(encoded.languages)
        self._splits.append(encoded.split)
        self._commanders.append(encoded.commanders)
        self._states.append(encoded.states)
        last = np.full((1, ACTION_SIZE), np.nan, dtype=np.float32)  # the last frame has no action
        self._actions.append(np.concatenate([encoded.actions, last]))
        self._num_frames += len(encoded.states)

    def skip(self, skipped: Skipped) -> None:
        """Record what was left out; it stands in the store's metadata."""
        self._skipped.append(skipped)

    def note(self, **facts: object) -> None:
        """Record facts about the import; they stand in the store's metadata under these keys."""
        self._head |= facts

    def close(self) -> None:
        """Finish the store and move it into place. ValueError, leaving nothing, where no episode was added."""
        folder = self._require_open().folder
        try:
            if not self._states:
                raise ValueError(f"no episode was added, {self.path} is not made")
            with writing(self.path):
                self._write(folder)
                self._require_open().move_into_place()
        except BaseException:
            self._give_up()
            raise
        self._place = None

    def abort(self) -> None:
        """Throw away what was written so far. Does nothing after `close`."""
        self._close_files()
        if self._place is not None:
            self._place.discard()
            self._place = None

    def _make_place(self, overwrite: bool, expected_bytes: int) -> StorePlace:
        return StorePlace(self.path, overwrite=overwrite, expected_bytes=expected_bytes)

    def _give_up(self) -> None:
        """After an error."""
        self.abort()

    def _close_files(self) -> None:
        for camera_file in self._cameras.values():
            camera_file.close()

    def _require_open(self) -> StorePlace:
        if self._place is None:
            raise RuntimeError(f"the writer of {self.path} is closed; make a new one")
        return self._place

    def _write(self, folder: Path) -> None:
        files: dict[str, FileEntry] = {}
        for camera, camera_file in sorted(self._cameras.items()):
            files[layout.camera_file(camera)] = camera_file.finish()
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(camera_file.sizes))]).astype("<i8")
            files[layout.offsets_file(camera)] = write_array(folder / layout.offsets_file(camera), offsets)
        ends = np.cumsum([len(states) for states in self._states]).astype("<i8")
        files[layout.ENDS_FILE] = write_array(folder / layout.ENDS_FILE, ends)
        files[layout.STATES_FILE] = write_array(folder / layout.STATES_FILE, np.concatenate(self._states).astype("<f4"))
        files[layout.ACTIONS_FILE] = write_array(
            folder / layout.ACTIONS_FILE, np.concatenate(self._actions).astype("<f4")
        )
        episodes = [
            {"name": name, "languages": list(lines)}
            | ({"split": split} if split else {})
            | ({"commanders": runs_of(commanders)} if commanders else {})
            for name, lines, split, commanders in zip(self._names, self._languages, self._splits, self._commanders)
        ]
        files |= write_lines(folder, episodes)
        metadata: layout.Metadata = {
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
        write_file(folder / layout.METADATA_FILE, json_bytes(metadata))
        sync_folder(folder)
