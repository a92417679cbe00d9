"""An import in shards that are made elsewhere, each a store of its own, and merged here.

The shards' stores grow in `.<name>.shards-<digest>` beside the store. The digest is of all that decides what they hold,
so that the same command goes on with those that are finished, and another one begins anew.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import mqe_core
from mqe_core.data.import_job import ImportJob
from mqe_core.data.importer import NoEpisodeError
from mqe_core.data.loading import Shard
from mqe_core.data.merge import merge_stores
from mqe_core.data.source_files import fingerprint_of_files
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.layout import is_store
from mqe_core.data.store.place import check_store_target
from mqe_core.files.disk import writing
from mqe_core.files.lock import FileLock
from mqe_core.files.progress import Progress

log = logging.getLogger(__name__)

_SHARED = "source and store must lie where all machines see them, under the same path"


class ShardTask(NamedTuple):
    """One shard, for any process of any machine that sees the source and the folder of `out`."""

    job: ImportJob
    shard: Shard
    out: Path
    version: str  # of this project


Done: TypeAlias = "tuple[ShardTask, str]"  # the text: why it holds no episode; empty where it does
Runner: TypeAlias = "Callable[[Sequence[ShardTask]], Iterable[Done]]"


def import_in_shards(
    job: ImportJob, out: Path, shards: int, run_all: Runner, *, overwrite: bool = False, progress: bool = False
) -> EpisodeStore:
    """Have `run_all` make the shards of the import, with `make_shard`, in whatever order, and merge them into `out`.

    ValueError as `ImportJob.run`, and where another process is at it. What `run_all` raises goes through, and the
    finished shards stay for the next call.
    """
    check_store_target(out, reads=[job.source], force=overwrite)
    folder = _folder(job, out, shards)
    with writing(out):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", out)
    try:
        for other in sorted(out.absolute().parent.glob(f".{out.name}.shards-*")):
            if other.name != folder.name:
                log.warning("%s: shards of another import; delete it unless that one still runs", other)
        tasks = [
            ShardTask(job, Shard(number, shards), folder / str(number), mqe_core.__version__)
            for number in range(1, shards + 1)
        ]
        reasons: dict[int, str] = {}
        with Progress(total=shards, unit="shard", desc="importing", disable=not progress) as bar:
            for task, reason in run_all(tasks):
                reasons[task.shard.number] = reason
                bar.update()
        made = [task.out for task in tasks if not reasons[task.shard.number]]
        for number, reason in sorted(reasons.items()):
            if reason:
                log.warning("shard %d of %d: %s", number, shards, reason)
        if not made:
            raise NoEpisodeError(reasons[1])
        if missing := [path for path in made if not is_store(path)]:
            raise ValueError(f"{missing[0]} was made on another machine and is not to be seen here: {_SHARED}")
        store = merge_stores([EpisodeStore.open(path) for path in made], out, overwrite=overwrite)
        shutil.rmtree(folder, ignore_errors=True)
        return store
    finally:
        lock.release()


def make_shard(task: ShardTask) -> str:
    """Make the shard's store, or go on with it, wherever this runs; why it holds no episode, or nothing.

    ValueError as `ImportJob.run`, and where this machine sees other files, or has another version.
    """
    here = socket.gethostname()
    if task.version != mqe_core.__version__:
        raise ValueError(f"{here} has version {mqe_core.__version__} of this project, and was asked by {task.version}")
    if not task.job.source.exists() or not task.out.parent.is_dir():
        missing = task.job.source if task.out.parent.is_dir() else task.out.parent
        raise ValueError(f"{missing} is not to be seen on {here}: {_SHARED}")
    if is_store(task.out):  # an earlier call has finished it
        EpisodeStore.open(task.out)
        return ""
    try:
        task.job.run(task.out, shard=task.shard)
    except NoEpisodeError as error:
        return str(error)
    return ""


def _folder(job: ImportJob, out: Path, shards: int) -> Path:
    decides = [asdict(replace(job, workers=None)), shards, fingerprint_of_files(job.source), mqe_core.__version__]
    digest = hashlib.sha256(repr(decides).encode("utf-8", "surrogateescape")).hexdigest()
    return out.absolute().parent / f".{out.name}.shards-{digest[:8]}"
