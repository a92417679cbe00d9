"""Episodes of a source, loaded and encoded by several workers, and handed on in the source's order."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple, TypeAlias

from mqe_core.data.episode import EncodedEpisode, Skipped, encode_episode
from mqe_core.data.episode_rules import EpisodeRules
from mqe_core.data.source import EpisodeTask, Source
from mqe_core.data.units import Conversion
from mqe_core.interrupts import starting_workers

_Pending: TypeAlias = "Future[EncodedEpisode | Skipped | None] | Skipped"

# From so many episodes on, more than a few workers are processes. Threads start at once and cost less, but hold each
# other up: a frame needs the interpreter's lock for a part of its time, so that more than a few of them gain little.
_WORTH_PROCESSES = 200
_FEW_WORKERS = 4


class Recipe(NamedTuple):
    """What is done to each episode: its units first, then its rules, then its images are encoded."""

    conversion: Conversion
    rules: EpisodeRules
    image_size: int
    jpeg_quality: int | None  # None: PNG


class Shard(NamedTuple):
    """Which of a source's results: every `shards`-th one, from the `number`-th on, counted from 1."""

    number: int = 1
    shards: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/5`. ValueError where it is none."""
        number, _, shards = text.partition("/")
        if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
            raise ValueError(f"--shard {text}: expected I/N, from 1/N to N/N")
        return cls(int(number), int(shards))

    def holds(self, index: int) -> bool:
        """Whether the result with this index, from 0, is one of them."""
        return index % self.shards == self.number - 1


def load_in_order(
    source: Source, workers: int, recipe: Recipe, shard: Shard = Shard(), done: int = 0, processes: bool = False
) -> Iterator[tuple[float | None, EncodedEpisode | Skipped | None]]:
    """Load with a window of 2·workers episodes in flight; results come in the source's order, each with the share of
    the source that lies behind with it. None is an episode of a split that is not asked for. Of those in the shard the
    first `done` are left out. `processes`: many workers are processes where there are enough episodes.

    RuntimeError where a worker is killed, as for want of memory.
    """
    pending: deque[tuple[float | None, _Pending]] = deque()
    expected, begun, mine = source.num_episodes(), 0, 0
    with _executor(workers, processes and (expected or 0) >= _WORTH_PROCESSES) as pool:
        try:
            for index, task in enumerate(source.tasks()):
                begun += 1 if isinstance(task, EpisodeTask) else task.episodes or 0
                if not shard.holds(index):
                    continue
                mine += 1
                if mine <= done:
                    continue
                if isinstance(task, Skipped):
                    pending.append((None, task))
                else:
                    share = task.share or (min(begun / expected, 1.0) if expected else None)
                    with starting_workers():
                        pending.append((share, pool.submit(_load, task, recipe)))
                if len(pending) > 2 * workers:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process that decodes images was killed, most likely for want of memory: fewer --workers need less"
            ) from error
        finally:  # an error or Ctrl-C: do not load what nobody waits for
            for _, future in pending:
                if isinstance(future, Future):
                    future.cancel()


def _executor(workers: int, processes: bool) -> Executor:
    if workers <= _FEW_WORKERS or not processes:
        return ThreadPoolExecutor(workers, thread_name_prefix="import")
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker whose parent was killed ends as well."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def _wait_and_end(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _load(task: EpisodeTask, recipe: Recipe) -> EncodedEpisode | Skipped | None:
    try:
        episode = recipe.rules(recipe.conversion(task.load()))
        return None if episode is None else encode_episode(episode, recipe.image_size, recipe.jpeg_quality)
    except (ValueError, OSError) as error:
        return Skipped(task.name, str(error))


def _result(item: tuple[float | None, _Pending]) -> tuple[float | None, EncodedEpisode | Skipped | None]:
    share, found = item
    return share, found if isinstance(found, Skipped) else found.result()
