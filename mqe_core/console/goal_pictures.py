"""The goals that can be sent, by name, and a small picture of each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from mqe_core import images
from mqe_core.policy.goals import check_name, read_goal

_SIDE = 96, 128  # height and width of a small picture
_QUALITY = 80
_MOST = 500  # goals that are listed


@dataclass(frozen=True)
class GoalEntry:
    """`key`: changes when the file does."""

    name: str
    path: Path
    key: int


class GoalPictures:
    """What lies in the folders now; of one name the first folder's counts. May be called from any thread."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._small: dict[str, tuple[int, bytes]] = {}

    def entries(self) -> list[GoalEntry]:
        """All goals that a name can be sent of, sorted by name; broken ones too, which say so when they are sent."""
        found: dict[str, GoalEntry] = {}
        for folder in self._folders:
            for path in sorted(folder.glob("*.png")) if folder.is_dir() else ():
                try:
                    check_name(path.stem)
                    found.setdefault(path.stem, GoalEntry(path.stem, path, path.stat().st_mtime_ns))
                except (ValueError, OSError):  # none that can be named here, or gone meanwhile
                    continue
        return sorted(found.values(), key=lambda entry: entry.name)[:_MOST]

    def small(self, name: str) -> bytes:
        """JPEG bytes. ValueError or OSError where there is no such goal, or it cannot be read."""
        entry = next((entry for entry in self.entries() if entry.name == name), None)
        if entry is None:
            raise FileNotFoundError("no such goal")
        with self._lock:
            known = self._small.get(name)
            if known is None or known[0] != entry.key:
                small = images.resize(read_goal(entry.path).image, *_SIDE)
                self._small[name] = known = entry.key, images.encode_jpeg(small, _QUALITY)
            return known[1]

    def serve(self, name: str) -> Response:
        """The route of a goal's picture, `/goals/NAME`."""
        try:
            return Response(self.small(name), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})
        except (ValueError, OSError) as error:
            return Response(str(error)[:200], status_code=404, media_type="text/plain")
