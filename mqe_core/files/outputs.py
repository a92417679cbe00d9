"""Whether a command may write to its target: every command that writes asks here before it works.

A target is new or empty, or holds unfinished work that the same command continues. With --force it may hold what the
same command made. Anything else is an error that names what stands there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mqe_core.files.disk import is_probe, require_space
from mqe_core.files.kinds import RECORDING, STORE, Kind, goal_domain, kind_of_folder, what_stands
from mqe_core.files.system_names import is_of_a_system

_CLOSED = (STORE, RECORDING)  # read and replaced as a whole: nothing else goes inside


def check_folder(
    out: Path,
    makes: Kind,
    *,
    reads: Iterable[Path] = (),
    continues: Sequence[Kind] = (),
    replaces: Sequence[Kind] = (),
    force: bool = False,
    needed_bytes: int = 0,
    remedy: str = "choose another folder",
) -> None:
    """ValueError where a command that makes `makes` must not write to the folder `out`; WriteError where it cannot.

    Args:
        reads: the data that it reads: `out` may be none of it, nor lie in it or around it.
        continues: what it goes on with.
        replaces: what it replaces where it is told to, by `force`.
        needed_bytes: how much it will write, where that can be told.
        remedy: what to do where something stands there.
    """
    check_place(out)
    for data in reads:
        check_apart(out, data)
    if out.exists() and not (out.is_dir() and holds_nothing(out)):
        known = (*continues, *replaces, makes) if out.is_dir() else ()
        found = next((kind for kind in known if kind.stands_at(out)), None)
        if found is None:
            raise ValueError(
                f"{out} already holds something, {what_stands(out)}, and is no {makes.name}; it is left alone, {remedy}"
            )
        if found not in continues and not (force and found in replaces):
            if found in replaces:
                raise ValueError(
                    f"{out} already holds {found.words}; {remedy}, or replace it with --force (overwrite=True)"
                )
            raise ValueError(f"{out} already holds something, {found.words}; {remedy}")
    require_space(out, needed_bytes)


def check_file(out: Path, kind: Kind, *, apart: bool = False) -> None:
    """ValueError where `out` is neither new nor a file of this kind, which is replaced; WriteError where it cannot be
    written. `apart`: not in a folder that one of our commands made, either.
    """
    check_place(out)
    if apart and (made := kind_of_folder(out.parent)) is not None:
        raise ValueError(f"{out} lies inside {out.parent}, {made.words}; choose another place")
    if out.is_dir():
        raise ValueError(f"{out} is a folder, and {kind.words} is a file: name one in it")
    if out.exists() and not kind.stands_at(out):
        raise ValueError(f"{out} exists and is no {kind.name}; it is left alone, choose another name")
    require_space(out.parent)


def check_goal(png: Path, *, domain: str, force: bool) -> None:
    """ValueError where no goal of this domain may be made of `png` and its YAML.

    So it is where another file has one of the two names, a goal of another domain, or any goal, unless `force` is set.
    """
    meaning = png.with_suffix(".yaml")
    for path in (png, meaning):
        check_place(path)
    if png.exists() or meaning.exists():
        found = goal_domain(png)
        if found is None or png.is_dir():
            taken = meaning if meaning.exists() else png
            raise ValueError(f"{taken} exists and belongs to no goal; it is left alone, choose another name")
        if found != domain:
            raise ValueError(f"{png} is a goal of the domain {found}, not {domain}; choose another name")
        if png.exists() and not force:
            raise ValueError(f"{png} exists already; choose another name, or replace it with --force")
    require_space(png.parent)


def holds_nothing(folder: Path) -> bool:
    """Whether there is no file in the folder, however deep; empty folders in it do not count, nor do probes and what an
    operating system leaves on every disk.
    """
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_a_system(name)]
        if any(os.path.islink(os.path.join(root, name)) for name in folders):
            return False
        if not all(is_probe(name) or is_of_a_system(name) for name in files):
            return False
    return True


def check_place(out: Path) -> None:
    """ValueError where `out` is a link to nothing, lies below a file, or in a folder that is read as a whole."""
    if out.is_symlink() and not out.exists():
        raise ValueError(f"{out} is a link to {os.readlink(out)}, which does not exist; choose another place")
    for folder in Path(os.path.realpath(out)).parents:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{out} cannot be made, as {folder} is a file; choose another place")
        for kind in _CLOSED:
            if kind.stands_at(folder):
                raise ValueError(f"{out} lies inside {folder}, {kind.words}; choose another place")


def check_apart(out: Path, data: Path) -> None:
    """ValueError where `out` is `data`, lies in it or holds it, by whatever path or link."""
    its = _identity(data)
    if its is None:
        return
    if its in map(_identity, _with_parents(out)):
        how = "is" if its == _identity(out) else "lies inside"
        raise ValueError(f"{out} {how} the data that is read, {data}; choose another place")
    if _identity(out) in {_identity(path) for path in _with_parents(data)} - {None}:
        raise ValueError(f"{out} holds the data that is read, {data}; choose another place")


def _with_parents(path: Path) -> list[Path]:
    real = Path(os.path.realpath(path))
    return [real, *real.parents]


def _identity(path: Path) -> tuple[int, int] | None:
    """What stays the same under every name of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
