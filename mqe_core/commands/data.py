"""Import published data sets into an EpisodeStore, and look into one.

mqe data import SRC --out STORE    read RLDS/TFDS shards, a raw BridgeData tree, or own recordings (MCAP)
mqe data append STORE SRC          the same, into a store that is there
mqe data merge STORE... --out STORE   several stores become one, nothing decoded or copied
mqe data export STORE --to FORMAT OUT   a store becomes a raw Bridge tree or a LeRobot data set
mqe data view STORE                a web page of its episodes, with a slider over the frames
mqe data info STORE                episodes, frames, cameras, action statistics, what was skipped
mqe data verify STORE              whether every byte is still what was written, on all cores
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mqe_core.commands import data_export, data_import

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mqe_core.data.episode import Skipped
    from mqe_core.data.source_files import FileGroup
    from mqe_core.data.store.episode_store import EpisodeStore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe data`."""
    actions = parser.add_subparsers(dest="data_command", required=True, metavar="ACTION")
    importing = actions.add_parser("import", help="read a data set into a new store")
    data_import.add_arguments(importing)
    appending = actions.add_parser("append", help="add a data set to a store")
    data_import.add_append_arguments(appending)
    merging = actions.add_parser("merge", help="several stores become one")
    merging.add_argument(
        "stores",
        metavar="STORE",
        type=Path,
        nargs="+",
        help="stores of one image size and domain, in the order of their episodes",
    )
    merging.add_argument("--out", metavar="STORE", type=Path, required=True, help="folder of the store to make")
    merging.add_argument(
        "--force", action="store_true", help="replace the store at --out, once the new one is complete"
    )
    exporting = actions.add_parser("export", help="a store becomes a raw Bridge tree or a LeRobot data set")
    data_export.add_arguments(exporting)
    viewing = actions.add_parser("view", help="a web page of a store's episodes, with a slider over the frames")
    viewing.add_argument("store", metavar="STORE", type=Path)
    viewing.add_argument("--episodes", metavar="N,N", help="their numbers (default: 12, evenly chosen)")
    viewing.add_argument("--out", metavar="PAGE", type=Path, help="the page to write (default: STORE's name and .html)")
    info = actions.add_parser("info", help="what a store holds")
    info.add_argument("store", metavar="STORE", type=Path)
    info.add_argument("--json", action="store_true", help="as JSON")
    info.add_argument(
        "--verify",
        action="store_true",
        help="also read every byte and compare it with the checksums of the import",
    )
    verifying = actions.add_parser("verify", help="whether every byte of a store is still what was written")
    verifying.add_argument("store", metavar="STORE", type=Path)


def run(args: argparse.Namespace) -> int:
    """Run the action that is asked for."""
    does = {"import": _import, "append": _append, "merge": _merge, "export": _export, "view": _view, "info": _info}
    does["verify"] = _verify
    return does[args.data_command](args)


def _import(args: argparse.Namespace) -> int:
    sys.stdout.write(_describe(summarise(data_import.import_store(args))) + "\n")
    return 0


def _append(args: argparse.Namespace) -> int:
    sys.stdout.write(_describe(summarise(data_import.append_to_store(args))) + "\n")
    return 0


def _merge(args: argparse.Namespace) -> int:
    from mqe_core.data.merge import merge_stores
    from mqe_core.data.store.episode_store import EpisodeStore

    store = merge_stores(
        [EpisodeStore.open(path) for path in args.stores], args.out, overwrite=args.force, progress=True
    )
    sys.stdout.write(_describe(summarise(store)) + "\n")
    return 0


def _export(args: argparse.Namespace) -> int:
    sys.stdout.write(data_export.export_store(args) + "\n")
    return 0


def _view(args: argparse.Namespace) -> int:
    from mqe_core.data.store.episode_store import EpisodeStore
    from mqe_core.data.view import write_view

    try:
        asked = None if args.episodes is None else [int(number) for number in args.episodes.split(",")]
    except ValueError as error:
        raise ValueError(f"--episodes {args.episodes}: expected numbers such as 0,5,7") from error
    store = EpisodeStore.open(args.store)
    out = args.out or Path(f"{store.path.resolve().name}.html")
    numbers = write_view(store, out, asked)
    sys.stdout.write(f"{out}: {len(numbers)} of {store.num_episodes} episodes; open it in a browser\n")
    return 0


def _info(args: argparse.Namespace) -> int:
    from mqe_core.data.store.episode_store import EpisodeStore

    store = EpisodeStore.open(args.store)
    if args.verify:
        store.verify()
    summary = summarise(store)
    sys.stdout.write((json.dumps(asdict(summary), indent=2) if args.json else _describe(summary)) + "\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from mqe_core.data.store.episode_store import EpisodeStore

    found = EpisodeStore.open(args.store).verify(progress=True)
    size = f"{found.files} files, {found.num_bytes / 1e6:.1f} MB in {found.blocks} blocks"
    sys.stdout.write(f"{args.store}: {size}: as they were written\n")
    return 0


@dataclass(frozen=True)
class StoreSummary:
    """What `mqe data info --json` prints. Action statistics are over the frames that have an action."""

    path: str
    format: str
    source: str
    domain: str
    episodes: int
    frames: int
    cameras: list[int]
    episodes_per_camera: dict[str, int]
    splits: dict[str, int]  # episodes of each; empty where the source names none
    labelled_episodes: int
    image_size: int
    resize_rule: str
    control_hz: float
    action_mean: list[float]
    action_std: list[float]
    operated_frames: int  # in which an operator moved the arm
    skipped: tuple[Skipped, ...]
    source_files: list[FileGroup]  # below the source, and what became of them; empty where the store does not say
    even_cameras: dict[str, int]  # in how many episodes a camera shows one even colour
    fingerprint: str


def summarise(store: EpisodeStore) -> StoreSummary:
    """What `store` holds."""
    from mqe_core.data.source_files import FileGroup

    actions = store.actions[store.valid].astype("float64")
    return StoreSummary(
        path=str(store.path),
        format=store.metadata["format"],
        source=store.metadata["source"],
        domain=store.metadata["domain"],
        episodes=store.num_episodes,
        frames=store.num_frames,
        cameras=list(store.cameras),
        episodes_per_camera={str(c): int(store.has_image(c)[store.episode_starts].sum()) for c in store.cameras},
        splits=dict(sorted(Counter(filter(None, store.splits)).items())),
        labelled_episodes=sum(bool(lines) for lines in store.languages),
        image_size=store.image_size,
        resize_rule=store.metadata["resize_rule"],
        control_hz=store.control_hz,
        action_mean=actions.mean(axis=0).tolist(),
        action_std=actions.std(axis=0).tolist(),
        operated_frames=int(store.operated.sum()),
        skipped=store.skipped,
        source_files=[FileGroup(**group) for group in store.metadata.get("source_files", ())],
        even_cameras=store.metadata.get("even_cameras", {}),
        fingerprint=store.fingerprint,
    )


def _describe(summary: StoreSummary) -> str:
    from mqe_core.data.source_files import describe
    from mqe_core.files.bounded import in_one_line

    cameras = ", ".join(f"{c} ({count} episodes)" for c, count in summary.episodes_per_camera.items()) or "none"
    lines = [
        f"{summary.path}: {summary.episodes} episodes, {summary.frames} frames",
        f"  source       {summary.source} ({summary.format})",
        f"  cameras      {cameras}",
        f"  images       {summary.image_size} px square, {summary.resize_rule}, {summary.domain}",
        f"  language     {summary.labelled_episodes} episodes labelled",
        f"  control      {summary.control_hz:g} Hz",
        f"  action mean  {_row(summary.action_mean)}",
        f"  action std   {_row(summary.action_std)}",
        f"  fingerprint  {summary.fingerprint}",
        f"  skipped      {_count_skipped(summary.skipped)}",
    ]
    if summary.splits:
        lines[5:5] = [
            "  splits       " + ", ".join(f"{name} ({count} episodes)" for name, count in summary.splits.items())
        ]
    if summary.operated_frames:
        lines[5:5] = [f"  by hand      {summary.operated_frames} frames"]
    lines[3:3] = [f"  one colour   camera {c} in {count} episodes" for c, count in summary.even_cameras.items()]
    lines[2:2] = [f"  files        {line}" for line in describe(summary.source_files)]
    lines += [f"    {entry.name}: {entry.reason}" for entry in summary.skipped]
    return "\n".join(map(in_one_line, lines))


def _row(values: list[float]) -> str:
    return " ".join(f"{value: .5f}" for value in values)


def _count_skipped(skipped: Sequence[Skipped]) -> str:
    known = sum(entry.episodes or 0 for entry in skipped)
    unknown = sum(entry.episodes is None for entry in skipped)
    without = sum(entry.episodes == 0 for entry in skipped)
    return (
        f"{known} episodes"
        + (f", and an unknown number at {unknown} damaged or missing places" if unknown else "")
        + (f"; named without a lost episode: {without}" if without else "")
    )
