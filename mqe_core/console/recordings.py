"""The recordings that the page lists and plays: what lies in one folder, by the names of its folders."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

from mqe_core import images
from mqe_core.console.own_files import entry_of, require_inside
from mqe_core.console.recorded_bags import Contents, Recorded, RecordedBags
from mqe_core.console.thumbnails import Kept, thumbnail
from mqe_core.files.bag_folders import continuations
from mqe_core.files.bounded import shown
from mqe_core.robot.arrays import Images

BAG, DRIVE = "bag", "drive"  # of the graph (record:=true); of `mqe run --out`
_BAG, _STEPS = ".mcap", "steps.csv"
_PART = re.compile(r"(.+)-([0-9]+)")  # a long recording goes on beside itself
_FRAME = re.compile(r"[0-9]{6,}\.jpg")
_KEPT_BAGS, _KEPT_THUMBNAILS = 16, 512

_T = TypeVar("_T")


@dataclass(frozen=True)
class Recording:
    """A line of the list.

    Attributes:
        name: of its folder.
        kind: BAG or DRIVE.
        changed: when it was written to last, seconds since 1970.
        num_bytes: of its bags; 0 for a drive, whose files are many.
    """

    name: str
    kind: str
    changed: float
    num_bytes: int


class Recordings:
    """What lies directly in `folder`, which need not exist. Safe to call from several threads; nothing is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()  # of the bags, which keep what they have read
        self._bags: OrderedDict[str, RecordedBags] = OrderedDict()
        self._kept = Kept(_KEPT_THUMBNAILS)

    def rows(self) -> list[Recording]:
        """All recordings, the newest first. No file is read, so that thousands take a fraction of a second."""
        try:
            names = {entry.name for entry in os.scandir(self.folder)}
        except OSError:
            return []
        parts: dict[str, list[str]] = {name: [name] for name in names}
        for name in names:
            match = _PART.fullmatch(name)
            if match and match[1] in names:
                parts[match[1]].append(name)
                del parts[name]
        found = [row for name, folders in parts.items() if (row := self._row(name, folders)) is not None]
        return sorted(found, key=lambda row: (row.changed, row.name), reverse=True)

    def contents(self, name: str) -> Contents:
        """What a recording holds. ValueError where there is none of that name, or it cannot be read at all."""
        folder = self._folder_of(name)
        if _is_drive(folder):
            frames = _frames(folder)
            whole = (folder / "summary.json").is_file()
            said = "" if whole else "it is under way, or did not end by itself"
            return Contents((Recorded(0, 0.0, len(frames)),), said)
        with self._lock:
            return self._read(name, lambda bags: bags.contents())

    def picture(self, name: str, episode: int, picture: int) -> Images:
        """(H, W, 3) uint8: one picture of an episode, counted from 0, or from the end where it is negative.

        ValueError where there is none, or it cannot be read.
        """
        folder = self._folder_of(name)
        if not _is_drive(folder):
            with self._lock:
                return self._read(name, lambda bags: bags.picture(episode, picture))
        frames = _frames(folder)
        if episode != 0 or not -len(frames) <= picture < len(frames):
            raise ValueError(f"the drive has {len(frames)} pictures, there is none of number {picture}")
        return images.read(require_inside(folder, folder / "frames" / frames[picture]), images.FRAME_PIXELS)

    def jpeg(self, name: str, episode: int, picture: int) -> bytes:
        """The same for a browser. Errors as `picture`."""
        return images.encode_jpeg(self.picture(name, episode, picture))

    def thumbnail(self, name: str, episode: int) -> bytes:
        """A small JPEG of the episode's last picture, which shows what came of it. Errors as `picture`."""
        changed = self._folder_of(name).stat().st_mtime_ns
        pictures = next((one.pictures for one in self.contents(name).episodes if one.number == episode), 0)
        key = (name, changed, episode, pictures)
        return self._kept.get(key, lambda: thumbnail(self.picture(name, episode, -1)))

    def _row(self, name: str, folders: list[str]) -> Recording | None:
        """None where there is nothing that was recorded, or where it leads out of the folder."""
        bags: list[os.stat_result] = []
        for folder in folders:
            try:
                path = entry_of(self.folder, folder)
                entries = [] if path is None or not path.is_dir() else list(os.scandir(path))
                bags += [entry.stat() for entry in entries if entry.name.endswith(_BAG) and entry.is_file()]
                steps = [entry.stat() for entry in entries if entry.name == _STEPS]
            except (OSError, ValueError):
                continue
            if steps:
                return Recording(name, DRIVE, steps[0].st_mtime, 0)
        if not bags:
            return None
        return Recording(name, BAG, max(bag.st_mtime for bag in bags), sum(bag.st_size for bag in bags))

    def _folder_of(self, name: str) -> Path:
        folder = entry_of(self.folder, name)
        if folder is None or not folder.is_dir():
            raise ValueError(f"there is no recording {shown(name)} in {self.folder}")
        return folder

    def _read(self, name: str, ask: Callable[[RecordedBags], _T]) -> _T:
        """What `ask` says of the recording, as it is now."""
        folder = self._folder_of(name)
        try:
            places = [self.folder / part.name for part in (folder, *continuations(folder))]
            files = [file for place in places for file in sorted(place.glob(f"*{_BAG}"))]
            if not files:
                raise ValueError(f"{folder} holds nothing that was recorded")
            for file in files:
                require_inside(self.folder, file)
            bags = self._bags.pop(name, None)
            if bags is None or bags.files != tuple(files):
                bags = RecordedBags(files)
            self._bags[name] = bags
            while len(self._bags) > _KEPT_BAGS:
                self._bags.popitem(last=False)
            return ask(bags)
        except OSError as error:
            raise ValueError(f"{folder} cannot be read: {error.strerror or error}") from error


def _is_drive(folder: Path) -> bool:
    return (folder / _STEPS).is_file()


def _frames(folder: Path) -> list[str]:
    """The names of a drive's pictures, in their order."""
    try:
        return sorted(entry.name for entry in os.scandir(folder / "frames") if _FRAME.fullmatch(entry.name))
    except OSError:
        return []
