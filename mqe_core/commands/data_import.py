"""What `mqe data import` and `append` are asked, and how they go about it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqe_core.data.import_job import ImportJob
    from mqe_core.data.loading import Shard
    from mqe_core.data.store.episode_store import EpisodeStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe data import`."""
    _add_source(parser)
    parser.add_argument("--out", metavar="STORE", type=Path, required=True, help="folder of the store to make")
    parser.add_argument("--force", action="store_true", help="replace the store at STORE, once the new one is complete")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="auto",
        help="import on all machines of a Ray cluster, which see SRC and STORE under the same paths; without ADDRESS "
        "the cluster that this machine is of",
    )
    _add_choices(parser)


def add_append_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe data append`."""
    parser.add_argument("store", metavar="STORE", type=Path, help="folder of the store that grows")
    _add_source(parser)
    _add_choices(parser)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", type=Path, help="folder of the data set (or one TFRecord shard)")


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        metavar="NAME",
        default="auto",
        help="format of SRC, as the documentation of data names it; auto goes by the files found (default)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="height and width images are squashed to (default 128, as in training on Bridge; less where the "
        "images are smaller; of append: the store's)",
    )
    parser.add_argument(
        "--jpeg-quality",
        type=int,
        metavar="Q",
        help="store images that are resized as JPEG of this quality, 1 to 100: smaller and faster, and not quite the "
        "same (default: PNG; of append: as the store has them)",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        default="1/1",
        help="import only every N-th episode, from the I-th on: N machines share the work, each into a store of its "
        "own, and mqe data merge makes them one",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="threads or processes that decode and resize (default: all cores)"
    )
    parser.add_argument(
        "--camera",
        metavar="KEY",
        action="append",
        default=[],
        help="key (rlds), folder (bridge-raw) or topic (ros-bag) of the images of camera 0; again for camera 1 and so "
        "on (default: image_<c>, images<c>, the topic that the policy saw)",
    )
    parser.add_argument(
        "--gripper",
        metavar="CLOSED..OPEN",
        action="append",
        default=[],
        help="what the source has for closed and open, as in --gripper=-1..1; of one table: state:0.010..0.035",
    )
    parser.add_argument(
        "--units",
        metavar="UNIT",
        action="append",
        default=[],
        help="units that the source has: mm or cm, deg; of one table: action:mm,deg (default: m and rad)",
    )
    parser.add_argument(
        "--actions",
        choices=["commanded", "absolute", "reached", "reached-euler"],
        default="commanded",
        help="commanded: as the source has them, the way to go (default); absolute: the source has the pose to go to; "
        "reached: the way that the hand then went, as the controller takes it; reached-euler: that as differences of "
        "Euler angles, as BridgeData's training does",
    )
    parser.add_argument(
        "--cameras",
        metavar="C,C",
        help="which cameras are imported: numbers as in the source (0,2), or keys as for --camera (default: all)",
    )
    parser.add_argument(
        "--binary-gripper", action="store_true", help="gripper actions become 0 or 1, as in BridgeData's training"
    )
    for end in ("first", "last"):
        parser.add_argument(
            f"--drop-{end}", metavar="N", type=int, default=0, help=f"leave out the {end} N frames of each episode"
        )
    parser.add_argument(
        "--val-share",
        metavar="SHARE",
        type=float,
        help="put this share of the episodes into the split val, the others into train, by a hash of their names "
        "(default: the source's own splits)",
    )
    parser.add_argument("--split", metavar="NAME", default="", help="import only the episodes of this split")
    parser.add_argument(
        "--pitch-offset",
        metavar="DEG",
        type=float,
        default=0.0,
        help="what the source has added to the pitch, as in --pitch-offset=90 (default: 0)",
    )
    parser.add_argument(
        "--tool-turn",
        metavar="DEG",
        type=float,
        default=0.0,
        help="by how much the source's tool frame is turned about its own y axis: 90 where angles are of the gripper's "
        "own frame, whose x axis points out of it (default: 0)",
    )
    parser.add_argument(
        "--trust-units", action="store_true", help="import also what lies beyond the arm's reach, steps and gripper"
    )


def import_store(args: argparse.Namespace) -> EpisodeStore:
    """Do it, and open what was made. ValueError or WriteError where that cannot be."""
    from mqe_core.data.store.place import check_store_target

    if args.ray is not None:
        from mqe_core.data.on_ray import import_on_ray

        if args.shard != "1/1":
            raise ValueError("--ray makes all shards, --shard one of them: leave out one of the two")
        return import_on_ray(_job(args), args.out, args.ray, overwrite=args.force, progress=True)
    # Before the source is searched through.
    check_store_target(args.out, reads=[args.source], force=args.force, restartable=True)
    return _job(args).run(args.out, shard=_shard(args), overwrite=args.force, progress=True)


def append_to_store(args: argparse.Namespace) -> EpisodeStore:
    """Add SRC to the store, and open that. ValueError or WriteError, leaving it as it was, where that cannot be."""
    from mqe_core.data.append import adding_to
    from mqe_core.files.outputs import check_apart

    check_apart(args.store, args.source)
    with adding_to(args.store) as addition:
        return _job(args).run(args.store, shard=_shard(args), progress=True, addition=addition)


def _shard(args: argparse.Namespace) -> Shard:
    from mqe_core.data.loading import Shard

    return Shard.parse(args.shard)


def _job(args: argparse.Namespace) -> ImportJob:
    from mqe_core.data.episode_rules import EpisodeRules
    from mqe_core.data.import_job import ImportJob
    from mqe_core.data.units import Conversion

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}")
    numbers, keys = _cameras(args.cameras)
    return ImportJob(
        source=args.source,
        source_name=str(args.source),
        format=args.format,
        cameras=(*args.camera, *keys),
        image_size=args.image_size,
        jpeg_quality=args.jpeg_quality,
        workers=args.workers,
        conversion=Conversion.parse(
            args.gripper, args.units, args.actions == "absolute", args.pitch_offset, args.tool_turn
        ),
        rules=EpisodeRules(
            actions=args.actions,
            binary_gripper=args.binary_gripper,
            drop_first=args.drop_first,
            drop_last=args.drop_last,
            cameras=numbers,
            val_share=args.val_share,
            split=args.split,
        ),
        trust_units=args.trust_units,
    )


def _cameras(text: str | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers or the keys in `--cameras`. ValueError where it names none, or both."""
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    are_numbers = {name.isdecimal() for name in names}
    if not all(names) or len(are_numbers) > 1:
        raise ValueError(f"--cameras {text}: expected numbers such as 0,2, or keys such as image_primary,image_wrist")
    return (tuple(map(int, names)), ()) if are_numbers == {True} else ((), names)
