"""From a published data set to an EpisodeStore: find the format, load in threads, keep the order."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

import mqe_core
from mqe_core import images
from mqe_core.data.append import Addition
from mqe_core.data.episode import EncodedEpisode, Skipped
from mqe_core.data.episode_rules import EpisodeRules
from mqe_core.data.loading import Recipe, Shard, load_in_order
from mqe_core.data.readers.bridge_numpy import BridgeNumpySource
from mqe_core.data.readers.bridge_raw import BridgeRawSource, tree_around
from mqe_core.data.readers.lerobot import LeRobotSource
from mqe_core.data.readers.rlds import RldsSource
from mqe_core.data.readers.ros_bag import RosBagSource
from mqe_core.data.seen import Seen
from mqe_core.data.source import Source
from mqe_core.data.source_files import NOT_READ, account, describe, fingerprint_of_files, why_of_no_format
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.store.episode_writer import BRIDGE_CONTROL_HZ, EpisodeWriter
from mqe_core.data.store.import_journal import Result
from mqe_core.data.store.restartable_writer import RestartableWriter
from mqe_core.data.units import Conversion
from mqe_core.files.bounded import in_one_line
from mqe_core.files.forecast import Forecast
from mqe_core.files.kinds import kind_of_folder
from mqe_core.files.progress import Progress

log = logging.getLogger(__name__)

DEFAULT_IMAGE_SIZE = 128  # of training on BridgeData, whose images are larger


class NoEpisodeError(ValueError):
    """An import has found no usable episode. The text says why."""


class Format(NamedTuple):
    """A published format: what opens a data set in it, and the files that it is found by, in words."""

    open: Callable[[Path], Source]
    files: str


FORMATS = {
    "rlds": Format(RldsSource, "*.tfrecord* shards"),
    "bridge-raw": Format(BridgeRawSource, "folders raw/traj_group<k>/traj<i>"),
    "bridge-numpy": Format(BridgeNumpySource, "out.npy files"),
    "lerobot": Format(LeRobotSource, "a folder with meta/info.json"),
    "ros-bag": Format(RosBagSource, "*.mcap files"),
}


def open_source(path: str | Path, format: str = "auto", cameras: Sequence[str] = ()) -> Source:
    """The data set at `path`; `auto` goes by the files found there. ValueError where no format or several fit.

    `cameras` are the keys of the source under which the images of camera 0, 1 … stand, where they are not the format's.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if "" in cameras or len(set(cameras)) < len(cameras):
        raise ValueError(f"--camera {', '.join(map(repr, cameras))}: expected one key for each camera")
    names = list(FORMATS) if format == "auto" else [format]
    if not set(names) <= FORMATS.keys():
        raise ValueError(f"unknown format {format!r}; known are auto, {', '.join(FORMATS)}")
    candidates = {name: FORMATS[name].open(path) for name in names}
    fitting = {name: source for name, source in candidates.items() if not source.is_empty()}
    if not fitting:
        *first, last = (f"{known.files} ({name})" for name, known in FORMATS.items())
        raise ValueError(
            f"{path} holds no episodes in the format {' or '.join(names)}: expected {', '.join(first)}, or {last}"
            + _what_is_there(path, format, candidates[names[0]])
        )
    if len(fitting) > 1:
        raise ValueError(f"{path} holds data in several formats ({', '.join(fitting)}); choose one with --format")
    ((name, source),) = fitting.items()
    if cameras and name not in _WITH_CAMERAS:
        raise ValueError(f"--camera belongs to the formats {', '.join(_WITH_CAMERAS)}; {path} is {name}")
    return _WITH_CAMERAS[name](path, cameras) if cameras else source


def _what_is_there(path: Path, format: str, source: Source) -> str:
    """What the path is or holds instead, for an error."""
    if (made := kind_of_folder(path)) is not None:
        return f"; {path} is {made.words}"
    if (tree := tree_around(path)) is not None:
        return f"; {path} is a part of a raw tree: give the folder {tree}"
    why = (lambda file: why_of_no_format(file, "")) if format == "auto" else source.why_not_read
    lines = describe(group for group in account(path, why) if group.outcome == NOT_READ)
    return f"; found: {'; '.join(lines)}" if lines else ""


_WITH_CAMERAS: dict[str, Callable[[Path, Sequence[str]], Source]] = {
    "rlds": RldsSource,
    "bridge-raw": BridgeRawSource,
    "bridge-numpy": BridgeNumpySource,
    "lerobot": LeRobotSource,
    "ros-bag": RosBagSource,
}


def import_episodes(
    source: Source,
    out: str | Path,
    *,
    image_size: int | None = None,
    source_name: str,
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    conversion: Conversion = Conversion(),
    rules: EpisodeRules = EpisodeRules(),
    trust_units: bool = False,
    root: Path | None = None,
    cameras: Sequence[str] = (),
    jpeg_quality: int | None = None,
    shard: Shard = Shard(),
    processes: bool = False,
    addition: Addition | None = None,
) -> EpisodeStore:
    """Write all usable episodes of `source` to a store at `out`; its metadata names what was skipped.

    Each episode's numbers go through `conversion`, then the episode through `rules`. ValueError, with the columns and
    the options, where they are then in other units than a store's, unless `trust_units`. The files below `root` are
    accounted for in the metadata.

    Images are squashed to `image_size` pixels square. The default is 128, or less where the images of the first usable
    episode are smaller, so that none is enlarged. Those that are resized become PNG, or JPEG of `jpeg_quality`. The
    store's contents do not depend on `workers`, by default the cores of this process. They are threads, or `processes`
    where the source is large; then a program needs its `if __name__ == "__main__"`. Memory holds at most 2·workers + 1
    episodes. Only what is in the `shard` is imported; the stores of all shards, merged, hold everything once.

    With `root` the import can be started again: whatever ends it, the same call goes on with the episodes that were
    finished. It begins anew where another argument, a file below `root` or the version has changed (`cameras` are those
    that `source` was opened with). ValueError where another process is at it.

    With `addition` (and `root`) they are added to its store, `out`, in time that does not depend on what that holds; it
    decides on the image size. Episodes that it has already are skipped; ValueError where it has others of their names.

    Leaving nothing behind, ValueError where no episode can be used. WriteError where there is no room for them, as soon
    as that is clear.
    """
    workers = workers or len(os.sched_getaffinity(0))
    if image_size is None:
        image_size = _own_size(source) if addition is None else addition.store.image_size
    head: dict[str, Any] = {"image_size": image_size, "source": source_name, "format": source.format}
    head["domain"] = source.domain()
    if jpeg_quality is None and addition is not None:
        jpeg_quality = addition.store.metadata.get("jpeg_quality")
    head["jpeg_quality"] = jpeg_quality
    head["control_hz"] = source.control_hz() if isinstance(source, LeRobotSource) else BRIDGE_CONTROL_HZ
    if addition is not None:
        addition.require_alike(head, asdict(rules))
    if root is None:
        writer = EpisodeWriter(out, overwrite=overwrite, **head)
    else:
        settings = {
            **head,
            "cameras": list(cameras),
            "shard": list(shard),
            "conversion": asdict(conversion),
            "rules": asdict(rules),
            "files": fingerprint_of_files(root),
            "version": f"{mqe_core.__version__}, Pillow {PIL.__version__}",
        }
        place = out if addition is None else addition.part
        writer = RestartableWriter(place, settings=settings, overwrite=overwrite, part=addition is not None, **head)
    with writer:
        seen = Seen(image_size, copies_are_told=source.format != RosBagSource.format)
        forecast = Forecast(Path(out), f"make it smaller with an --image-size below {image_size}, ")
        expected = source.num_episodes()
        total = expected and -(-expected // shard.shards)
        with Progress(total=total, unit="episode", desc="importing", disable=not progress) as bar:
            done = 0
            for result in writer.resume() if isinstance(writer, RestartableWriter) else ():
                if isinstance(result, EncodedEpisode):
                    seen.take(result)
                bar.update(_episodes_in(result))
                done += 1
            if done:
                log.info("%s: going on after %d episodes and skipped ones", out, done)
                forecast.add(writer.num_bytes, None)
            recipe = Recipe(conversion, rules, image_size, jpeg_quality)
            for share, result in load_in_order(source, workers, recipe, shard, done, processes):
                kept = seen.take(result) if result is not None else None
                kept = addition.judge(kept) if addition is not None and kept is not None else kept
                if isinstance(kept, EncodedEpisode):
                    writer.add(kept)
                    forecast.add(kept.num_bytes, share)
                elif kept is not None:
                    log.warning("skipped %s: %s", in_one_line(kept.name), kept.reason)
                    writer.skip(kept)
                elif isinstance(writer, RestartableWriter):
                    writer.leave_out()
                bar.update(_episodes_in(result))
        if writer.num_episodes == 0:
            what = "no store is made" if addition is None else "nothing is added"
            raise NoEpisodeError(f"{source_name} holds no usable episode, {what}; {_summarize(writer.skipped)}")
        if not trust_units:
            seen.require_units(1.0 / float(head["control_hz"]))
        writer.note(**seen.notes(conversion, trust_units), rules=asdict(rules))
        if root is not None:
            writer.note(source_files=[asdict(group) for group in account(root, source.why_not_read)])
    if addition is not None and isinstance(writer, RestartableWriter):
        addition.finish()
        writer.tidy()
    return EpisodeStore.open(out)


def _episodes_in(result: Result) -> int:
    """How many episodes of the source a result stands for."""
    return (result.episodes or 0) if isinstance(result, Skipped) else 1


def _own_size(source: Source) -> int:
    """The largest size, up to the default, to which no image of the first usable episode is enlarged."""
    for task in source.tasks():
        if isinstance(task, Skipped):
            continue
        try:
            episode = task.load()
            firsts = [frames[0] for frames in episode.images.values()]
            shapes = [(frame if isinstance(frame, np.ndarray) else images.decode(frame)).shape for frame in firsts]
        except (ValueError, OSError):
            continue  # the import will say so
        return min([DEFAULT_IMAGE_SIZE, *(int(side) for shape in shapes for side in shape[:2])])
    return DEFAULT_IMAGE_SIZE


def _summarize(skipped: tuple[Skipped, ...]) -> str:
    shown = [f"{entry.name}: {entry.reason}" for entry in skipped[:3]]
    return f"{len(skipped)} skipped" + (": " if shown else "") + "; ".join(shown) + (" …" if len(skipped) > 3 else "")
