"""RestartableWriter: an EpisodeWriter whose finished episodes outlive the process that wrote them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mqe_core.data.episode import EncodedEpisode, Episode, Skipped
from mqe_core.data.store import layout
from mqe_core.data.store.episode_writer import EpisodeWriter
from mqe_core.data.store.files import CameraFile, GrowingFile
from mqe_core.data.store.import_journal import ImportJournal, Result, Sizes
from mqe_core.data.store.place import StorePlace
from mqe_core.files.disk import writing

log = logging.getLogger(__name__)

JOURNAL_EVERY_S = 5.0  # so much work may be lost


class RestartableWriter(EpisodeWriter):
    """Goes on with what an earlier writer with the same `settings` left for this `path`, whatever ended it.

    First `resume` hands out what was finished; then the results that follow are added, each by `add`, `skip` or
    `leave_out`, in the same order as always. The store is then the same to the last bit as that of an undisturbed run.

    An error, Ctrl-C or a full disk keeps the finished episodes, if there are any. ValueError where another process
    works on the same store.

    Args:
        settings: all that the results depend on, as JSON has it. With others the work begins anew.
        part: the store becomes a part of another (`StorePlace`). Then `tidy` is left to the caller.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        settings: Mapping[str, object],
        part: bool = False,
        overwrite: bool = False,
        **head: Any,
    ) -> None:
        self._part = part
        super().__init__(path, overwrite=overwrite, **head)
        self._restartable = self._require_open()
        try:
            with writing(self.path):
                self._journal = ImportJournal(self._restartable.folder, settings)
        except BaseException:
            self._restartable.release()
            raise
        self._committed_at = time.monotonic()

    def resume(self) -> Iterator[Result]:
        """Take over what earlier runs have finished, and say what it is. The images of its episodes are not loaded."""
        for result, sizes in self._journal.finished():
            if isinstance(result, EncodedEpisode):
                self._take_over(result, sizes)
            elif isinstance(result, Skipped):
                super().skip(result)
            yield result

    def add(self, episode: Episode | EncodedEpisode) -> None:
        encoded = self._encoded(episode)
        super().add(encoded)
        self._note(encoded)

    def skip(self, skipped: Skipped) -> None:
        super().skip(skipped)
        self._note(skipped)

    def leave_out(self) -> None:
        """Note that the next result is an episode that is not asked for."""
        self._note(None)

    def close(self) -> None:
        super().close()
        self._journal.close()
        if not self._part:
            self.tidy()

    def tidy(self) -> None:
        """Take away what only a restart needed."""
        self._restartable.tidy()

    def abort(self) -> None:
        super().abort()
        self._journal.close()

    def _make_place(self, overwrite: bool, expected_bytes: int) -> StorePlace:
        return StorePlace(
            self.path, overwrite=overwrite, expected_bytes=expected_bytes, restartable=True, part=self._part
        )

    def _give_up(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk; files that `close` has closed already
            self._journal.commit(self._files())
        if self.num_episodes == 0 or self._journal.num_finished == 0:
            self.abort()
            return
        self._close_files()
        self._journal.close()
        self._restartable.release()
        log.warning(
            "%s: %d finished episodes and skipped ones are kept; the same command goes on with them",
            self._restartable.folder,
            self._journal.num_finished,
        )

    def _files(self) -> dict[str, GrowingFile]:
        return {layout.camera_file(camera): file for camera, file in self._cameras.items()}

    def _note(self, result: Result) -> None:
        with writing(self.path):
            self._journal.note(result, self._files())
            if time.monotonic() - self._committed_at >= JOURNAL_EVERY_S:
                self._journal.commit(self._files())
                self._committed_at = time.monotonic()

    def _take_over(self, episode: EncodedEpisode, sizes: Sizes) -> None:
        folder = self._restartable.folder
        for camera, its in sizes.items():
            name = layout.camera_file(camera)
            if camera not in self._cameras:
                self._cameras[camera] = CameraFile(folder / name, self._num_frames, self._journal.points[name])
            self._cameras[camera].append_sizes(its)
        for camera in self._cameras.keys() - sizes.keys():
            self._cameras[camera].append_absent(len(episode.states))
        self._register(episode)
