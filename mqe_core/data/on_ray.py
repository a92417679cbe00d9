"""`mqe data import … --ray`: the shards of an import on the machines of a Ray cluster.

Ray is loaded when it is asked for.

Ray moves the tasks and notices machines that die; the shards, their restart and their merging are `in_shards`'.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mqe_core.data.import_job import ImportJob
from mqe_core.data.in_shards import Done, ShardTask, import_in_shards, make_shard
from mqe_core.data.store.episode_store import EpisodeStore

INSTALL = "pip install -r requirements/ray.txt"
_CORES = 4  # of a shard, at most: so many threads gain from each other
_PATIENCE_S = 10.0  # with a cluster's address
_TRIES = 3  # of a shard whose machine or process died; it goes on where it was


def import_on_ray(
    job: ImportJob, out: Path, address: str, *, overwrite: bool = False, progress: bool = False
) -> EpisodeStore:
    """Do the import on all cores of the Ray cluster at `address` (`auto`: the one that this machine is of).

    ValueError as `import_in_shards`, where Ray is not installed, and where no cluster answers. RuntimeError where
    machines die again and again; then the same call goes on with what is finished.
    """
    ray = _require_ray()
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ValueError(f"no Ray cluster answers at {address} ({error}); start one with: ray start --head") from error
    try:
        sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        cores = min([_CORES, *filter(None, sizes)])
        shards = sum(size // cores for size in sizes)
        if not shards:
            raise ValueError(f"the Ray cluster at {address} has no cores")
        job = replace(job, source=job.source.absolute(), workers=job.workers or cores)
        remote = ray.remote(num_cpus=cores, max_retries=_TRIES, scheduling_strategy="SPREAD")(make_shard)
        return import_in_shards(
            job,
            out.absolute(),
            shards,
            lambda tasks: _run_all(ray, remote, tasks),
            overwrite=overwrite,
            progress=progress,
        )
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()


def _run_all(ray: Any, remote: Any, tasks: Sequence[ShardTask]) -> Iterator[Done]:
    """In the order in which they end. What fails is raised once all others have ended, so that their work is kept."""
    pending = {remote.remote(task): task for task in tasks}
    failed: Exception | None = None
    while pending:
        (ready, *_), _ = ray.wait(list(pending), num_returns=1)
        task = pending.pop(ready)
        try:
            yield task, ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, (ValueError, OSError)) else error
            failed = failed or _named(task, cause)
        except ray.exceptions.RayError as error:  # its process or machine died, more often than it may
            failed = failed or RuntimeError(f"{_name(task)}: {error}; the same command goes on where it was")
    if failed is not None:
        raise failed


def _named(task: ShardTask, cause: Exception) -> Exception:
    return (OSError if isinstance(cause, OSError) else ValueError)(f"{_name(task)}: {cause}")


def _name(task: ShardTask) -> str:
    return f"shard {task.shard.number} of {task.shard.shards}"


def _require_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ValueError(f"--ray needs ray, which is not installed: {INSTALL}") from error
