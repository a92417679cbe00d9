"""From a published data set to an EpisodeStore: find the format, load in threads, keep the order."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mqe_core import images
from mqe_core.data.bridge_raw import BridgeRawSource
from mqe_core.data.episode import EncodedEpisode, Skipped, encode_episode
from mqe_core.data.episode_store import EpisodeStore, EpisodeWriter
from mqe_core.data.rlds import RldsSource
from mqe_core.data.ros_bag import RosBagSource
from mqe_core.data.source import EpisodeTask, Source

log = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 128  # as in training on Bridge, whose images are larger

FORMATS = {"rlds": RldsSource, "bridge-raw": BridgeRawSource, "ros-bag": RosBagSource}


def open_source(path: str | Path, format: str = "auto") -> Source:
    """The data set at `path`.

    `auto` goes by the files found there. Raises ValueError where none, or more than one, format fits.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    names = list(FORMATS) if format == "auto" else [format]
    if not set(names) <= FORMATS.keys():
        raise ValueError(f"unknown format {format!r}; known are auto, {', '.join(FORMATS)}")
    candidates = {name: FORMATS[name](path) for name in names}
    fitting = {name: source for name, source in candidates.items() if not source.is_empty()}
    if not fitting:
        raise ValueError(
            f"{path} holds no episodes in the format {' or '.join(names)}: "
            "expected *.tfrecord* shards (rlds), "
            "folders raw/traj_group<k>/traj<i> (bridge-raw), or *.mcap files (ros-bag)"
        )
    if len(fitting) > 1:
        raise ValueError(f"{path} holds data in several formats ({', '.join(fitting)}); choose one with --format")
    return next(iter(fitting.values()))


def import_episodes(
    source: Source,
    out: str | Path,
    *,
    image_size: int | None = None,
    source_name: str,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> EpisodeStore:
    """Write all usable episodes of `source` to a store at `out`; its metadata names what was skipped.

    Images are squashed to `image_size` pixels square, by default to 128 or, where the first usable episode's are smaller, to
    what they have without being enlarged. The store's contents do not depend on `workers` (threads; default: the cores of this process). Memory: at
    most 2·workers + 1 episodes. Raises ValueError, and leaves nothing behind, where no episode is usable.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if image_size is None:
        image_size = _own_size(source)
    with EpisodeWriter(
        out,
        image_size=image_size,
        source=source_name,
        format=source.format,
        domain=source.domain(),
        overwrite=overwrite,
    ) as writer:
        has_warned = False
        with tqdm(total=source.num_episodes(), unit="episode", desc="importing", disable=not progress) as bar:
            for result in _load_in_order(source, image_size, workers):
                if isinstance(result, EncodedEpisode):
                    writer.add(result)
                    if result.enlarged and not has_warned:
                        log.warning(
                            "%s: its images are smaller than image size %d and are enlarged; without --image-size they would not be",
                            result.name,
                            image_size,
                        )
                        has_warned = True
                else:
                    log.warning("skipped %s: %s", result.name, result.reason)
                    writer.skip(result)
                bar.update(1 if isinstance(result, EncodedEpisode) else result.episodes or 0)
        if writer.num_episodes == 0:
            raise ValueError(f"{source_name} holds no usable episode, no store is made; {_summarize(writer.skipped)}")
    return EpisodeStore.open(out)


def _own_size(source: Source) -> int:
    """The largest size up to the default one to which no image of the first usable episode is enlarged."""
    for task in source.tasks():
        if isinstance(task, Skipped):
            continue
        try:
            episode = task.load()
            firsts = [frames[0] for frames in episode.images.values()]
            shapes = [(frame if isinstance(frame, np.ndarray) else images.decode(frame)).shape for frame in firsts]
        except (ValueError, OSError):
            continue  # the import will say so
        return min([DEFAULT_IMAGE_SIZE, *(side for shape in shapes for side in shape[:2])])
    return DEFAULT_IMAGE_SIZE


def _load_in_order(source: Source, image_size: int, workers: int) -> Iterator[EncodedEpisode | Skipped]:
    """Load with a window of 2·workers episodes in flight; results come in the source's order."""
    pending: deque[Future | Skipped] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
        try:
            for task in source.tasks():
                pending.append(task if isinstance(task, Skipped) else pool.submit(_load, task, image_size))
                if len(pending) > 2 * workers:
                    yield _result(pending.popleft())
            while pending:
                yield _result(pending.popleft())
        finally:  # an error or Ctrl-C: do not load what nobody waits for
            for future in pending:
                if isinstance(future, Future):
                    future.cancel()


def _load(task: EpisodeTask, image_size: int) -> EncodedEpisode | Skipped:
    try:
        return encode_episode(task.load(), image_size)
    except (ValueError, OSError) as error:
        return Skipped(task.name, str(error))


def _result(item: Future | Skipped) -> EncodedEpisode | Skipped:
    return item if isinstance(item, Skipped) else item.result()


def _summarize(skipped: tuple[Skipped, ...]) -> str:
    shown = [f"{entry.name}: {entry.reason}" for entry in skipped[:3]]
    return f"{len(skipped)} skipped" + (": " if shown else "") + "; ".join(shown) + (" …" if len(skipped) > 3 else "")
