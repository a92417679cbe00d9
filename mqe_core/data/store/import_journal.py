"""ImportJournal: which results of an import are finished, so that a killed one goes on where it was.

The folder that a store grows in holds beside the store's own files

    journal.jsonl   line 1: the settings of the import; each further line: the results that were finished since the last
                    one, and how far every file had come then (bytes, sha256). Each line begins with its CRC-32.
    numbers.bin     states and actions of the finished episodes, as float32

A line is written after the files that it speaks of are on the disk. What a file holds beyond the last whole line is cut
off by the next run. Until then that run has compared every file with the checksums; from a place that differs on, it
does the work again.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mqe_core.data.episode import ACTION_SIZE, STATE_SIZE, EncodedEpisode, Skipped
from mqe_core.data.store.checksums import Checksums, checksums_of
from mqe_core.data.store.commanders import from_runs, runs_of
from mqe_core.data.store.files import GrowingFile
from mqe_core.data.store.place import JOURNAL_FILE, LOCK_FILE, NUMBERS_FILE
from mqe_core.files.disk import write_atomically
from mqe_core.files.text import parse_json
from mqe_core.robot.arrays import Ints

log = logging.getLogger(__name__)

Result: TypeAlias = "EncodedEpisode | Skipped | None"  # None: of a split that is not asked for
Sizes: TypeAlias = "dict[int, Ints]"  # by camera, the bytes of each frame's image

_BLOCK = 1 << 20


class ImportJournal:
    """The journal in `folder`: that of an earlier run with the same settings, or a new one.

    With other settings the folder is emptied; the log then says which ones they are.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self._folder = folder
        self._file = folder / JOURNAL_FILE
        wanted = parse_json(json.dumps(settings), "settings")  # as a file has them
        records = self._read(wanted)
        good, self.points = _verified(folder, records)
        if good < len(records):
            log.warning("%s: what was written last is damaged; it is done again", folder)
        self._entries: list[Any] = [entry for record in records[:good] for entry in record["results"]]
        self._pending: list[tuple[Any, dict[str, Checksums]]] = []
        text = b"".join(map(_line, [{"settings": wanted}, *records[:good]]))
        write_atomically(self._file, text)
        for entry in folder.iterdir():
            if entry.name not in {LOCK_FILE, JOURNAL_FILE, *self.points}:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._stream = GrowingFile(self._file, checksums_of(text))
        self._numbers = GrowingFile(folder / NUMBERS_FILE, self.points.get(NUMBERS_FILE))

    @property
    def num_finished(self) -> int:
        """Results that are on the disk."""
        return len(self._entries)

    def finished(self) -> list[tuple[Result, Sizes]]:
        """The results of earlier runs, in order. Their images are not loaded: those stand in the cameras' files."""
        results: list[tuple[Result, Sizes]] = []
        with open(self._folder / NUMBERS_FILE, "rb") as numbers:
            for entry in self._entries:
                if entry is None:
                    results.append((None, {}))
                elif "reason" in entry:
                    results.append((Skipped(**entry), {}))
                else:
                    states = numbers.read(entry["frames"] * STATE_SIZE * 4)
                    actions = numbers.read((entry["frames"] - 1) * ACTION_SIZE * 4)
                    results.append(_episode_of(entry, states, actions))
        return results

    def note(self, result: Result, cameras: Mapping[str, GrowingFile]) -> None:
        """A result is finished; `cameras` are the files that hold its images, by name. `commit` puts it on the disk."""
        if isinstance(result, EncodedEpisode):
            self._numbers.write(result.states.astype("<f4").tobytes() + result.actions.astype("<f4").tobytes())
        points = {name: file.point() for name, file in {**cameras, NUMBERS_FILE: self._numbers}.items()}
        self._pending.append((_entry_of(result), points))

    def commit(self, cameras: Mapping[str, GrowingFile]) -> None:
        """What was noted goes to the disk, first the files, then the line that vouches for them."""
        if not self._pending:
            return
        for file in (*cameras.values(), self._numbers):
            file.flush()
        entries = [entry for entry, _ in self._pending]
        points = self._pending[-1][1]
        files = {name: [point.num_bytes, point.sha256] for name, point in points.items()}
        self._stream.write(_line({"results": entries, "files": files}))
        self._stream.flush()
        self._entries += entries
        self._pending = []

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._stream, self._numbers):
            file.close()

    def _read(self, wanted: dict[str, object]) -> list[dict[str, Any]]:
        """The whole lines after the first; none where the settings are others."""
        try:
            lines = self._file.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            if (record := _record_of(line)) is None:
                break  # the machine went down while it was written
            records.append(record)
        if not records:
            return []
        earlier = records[0]["settings"]
        changed = sorted(key for key in earlier.keys() | wanted.keys() if earlier.get(key) != wanted.get(key))
        if changed:
            log.warning("%s: an unfinished import is thrown away, its %s was another", self._folder, ", ".join(changed))
            return []
        return records[1:]


def _line(record: object) -> bytes:
    text = json.dumps(record).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _record_of(line: bytes) -> dict[str, Any] | None:
    """What stands in a line; None where it is not whole."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    record: dict[str, Any] = parse_json(text.decode("ascii"), JOURNAL_FILE)
    return record


def _verified(folder: Path, records: list[dict[str, Any]]) -> tuple[int, dict[str, Checksums]]:
    """How many records the files bear out from the first on, and how far the files had come at the last of them."""
    good, points = len(records), {}
    for name in {name for record in records for name in record["files"]}:
        wanted = [record["files"].get(name, [0, ""]) for record in records]
        points[name] = _points(folder / name, wanted)
        good = min(good, len(points[name]))
    if good == 0:
        return 0, {}
    return good, {name: points[name][good - 1] for name in records[good - 1]["files"]}


def _points(file: Path, wanted: list[list[Any]]) -> list[Checksums]:
    """For each of the wanted sizes and checksums, up to the first that the file does not fit, its own."""
    points: list[Checksums] = []
    so_far = Checksums()
    try:
        with open(file, "rb") as stream:
            for num_bytes, sha256 in wanted:
                while block := stream.read(min(_BLOCK, num_bytes - so_far.num_bytes)):
                    so_far.update(block)
                if so_far.num_bytes != num_bytes or (sha256 and so_far.sha256 != sha256):
                    break
                points.append(so_far.copy())
    except FileNotFoundError:
        return []
    return points


def _entry_of(result: Result) -> dict[str, Any] | None:
    if result is None:
        return None
    if isinstance(result, Skipped):
        return {"name": result.name, "reason": result.reason, "episodes": result.episodes}
    return {
        "name": result.name,
        "frames": len(result.states),
        "image_bytes": {str(camera): list(map(len, frames)) for camera, frames in result.images.items()},
        "languages": list(result.languages),
        "enlarged": result.enlarged,
        "even_cameras": list(result.even_cameras),
        "unused_cameras": list(result.unused_cameras),
        "split": result.split,
        "commanders": runs_of(result.commanders),
        "lost_cameras": {str(camera): why for camera, why in result.lost_cameras.items()},
        "period_s": result.period_s,
        "digest": result.digest.hex(),
    }


def _episode_of(entry: dict[str, Any], states: bytes, actions: bytes) -> tuple[EncodedEpisode, Sizes]:
    episode = EncodedEpisode(
        name=entry["name"],
        states=np.frombuffer(states, dtype="<f4").reshape(-1, STATE_SIZE),
        actions=np.frombuffer(actions, dtype="<f4").reshape(-1, ACTION_SIZE),
        images={},
        languages=tuple(entry["languages"]),
        enlarged=entry["enlarged"],
        even_cameras=tuple(entry["even_cameras"]),
        unused_cameras=tuple(entry["unused_cameras"]),
        split=entry["split"],
        commanders=from_runs(entry.get("commanders", []), entry["frames"]),
        lost_cameras={int(camera): why for camera, why in entry["lost_cameras"].items()},
        period_s=entry.get("period_s"),
        digest=bytes.fromhex(entry["digest"]),
    )
    return episode, {int(camera): np.array(sizes) for camera, sizes in entry["image_bytes"].items()}
