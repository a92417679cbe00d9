"""What lies below the path of an import, and what became of it: nothing is left out in silence."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mqe_core.files.placeholders import POINTER, why_unreadable
from mqe_core.files.system_names import is_of_a_system

READ, NOT_READ = "read", "not looked at"

_OF_THE_SYSTEM = "written by an operating system beside its files"
_PACKED = {".gz", ".zst", ".zstd", ".zip", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".lz4"}
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileGroup:
    """Files below the source that met the same fate."""

    outcome: str  # READ or NOT_READ
    reason: str  # why not; empty where they were read
    files: int
    first: str  # one of them, below the source


class Walk:
    """All folders at or below `root`; each once, links followed.

    `left_out` maps what was not entered to the reason, and grows as the walk goes on.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: dict[Path, str] = {}

    def folders(self) -> Iterator[tuple[Path, list[str], list[str]]]:
        """(folder, its folders, its files), names in order; folders that the caller removes are not entered."""
        seen = {_identity(self.root)}

        def note(error: OSError) -> None:
            self.left_out[Path(str(error.filename))] = f"it cannot be read ({error.strerror})"

        for place, subfolders, files in os.walk(self.root, onerror=note, followlinks=True):
            folder = Path(place)
            kept = []
            for name in sorted(subfolders):
                if (why := self._why_not_entered(folder / name, seen)) is None:
                    kept.append(name)
                    seen.add(_identity(folder / name))
                else:
                    self.left_out[folder / name] = why
            subfolders[:] = kept
            usable = []
            for name in sorted(files):
                if (why := self._why_no_file(folder / name)) is None:
                    usable.append(name)
                else:
                    self.left_out[folder / name] = why
            yield folder, subfolders, usable

    def files(self) -> Iterator[Path]:
        """All of them."""
        if self.root.is_file():
            yield self.root
            return
        for folder, _, names in self.folders():
            yield from (folder / name for name in names)

    def _why_not_entered(self, folder: Path, seen: set[tuple[int, int]]) -> str | None:
        if is_of_a_system(folder.name):
            return _OF_THE_SYSTEM
        if folder.is_symlink() and self._leads_back(folder):
            return f"a link to {os.readlink(folder)}, which is looked at there"
        return "the same folder as another one" if _identity(folder) in seen else None

    def _why_no_file(self, file: Path) -> str | None:
        if is_of_a_system(file.name):
            return _OF_THE_SYSTEM
        if not file.exists():
            return "a link to nothing"
        if not file.is_file():
            return "a pipe, a socket or a device"
        if why_unreadable(file):
            return POINTER
        if file.is_symlink() and self._leads_back(file):
            return f"a link to {os.readlink(file)}, which is looked at there"
        return None

    def _leads_back(self, link: Path) -> bool:
        """Whether the link's target is met without it, or holds all of this."""
        target, root = link.resolve(), self.root.resolve()
        return target.is_relative_to(root) or root.is_relative_to(target)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def same_files(files: Iterable[Path]) -> dict[Path, Path]:
    """Of files that hold the same bytes, each later one → the first. Only those of one size are read."""
    by_size: dict[int, list[Path]] = {}
    for file in files:
        by_size.setdefault(file.stat().st_size, []).append(file)
    found = {}
    for size, alike in by_size.items():
        firsts: dict[bytes, Path] = {}
        for file in alike if len(alike) > 1 and size else ():
            first = firsts.setdefault(_digest(file), file)
            if first is not file:
                found[file] = first
    return found


def _digest(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def account(root: Path, why_not_read: Callable[[Path], str | None]) -> list[FileGroup]:
    """The fate of every file below `root`, in groups; `why_not_read` says None of a file that was read."""
    walk = Walk(root)
    groups: dict[str, tuple[int, Path]] = {}
    for file in walk.files():
        reason = why_not_read(file) or ""
        count, first = groups.get(reason, (0, file))
        groups[reason] = count + 1, first
    for path, reason in walk.left_out.items():
        count, first = groups.get(reason, (0, path))
        groups[reason] = count + 1, first
    return [
        FileGroup(NOT_READ if reason else READ, reason, count, below(root, first))
        for reason, (count, first) in sorted(groups.items())
    ]


def fingerprint_of_files(root: Path) -> str:
    """Hash (hex) over name, size and time of change of every file at or below `root`; no file is read."""
    digest = hashlib.sha256()
    for file in Walk(root).files():
        status = file.stat()
        digest.update(
            f"{below(root, file)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()


def below(root: Path, path: Path) -> str:
    """The path from `root` on, for people; its own name where it is `root` itself."""
    return path.relative_to(root).as_posix() if path != root else path.name


def why_of_no_format(file: Path, format: str) -> str:
    """Why a file is not read that the reader of `format`, or where that is empty no reader knows, by name and size."""
    if file.suffix in _PACKED:
        return "packed: unpack it, and import again"
    if file.suffix == ".npz":
        return "an archive of arrays, whose meaning is not known: see the forms that are read"
    if file.suffix == ".db3":
        return "a bag in SQLite's form: make it an MCAP (ros2 bag convert), and import again"
    if file.stat().st_size == 0:
        return "empty: 0 bytes"
    return f"no data of the format {format}" if format else "of no form that is read"


def describe(groups: Iterable[FileGroup]) -> list[str]:
    """One line for each group, what was read first."""
    return [
        f"{group.files} {'read' if group.outcome == READ else f'{NOT_READ}, {group.reason}'}"
        f" ({group.first}{', …' if group.files > 1 else ''})"
        for group in groups
    ]
