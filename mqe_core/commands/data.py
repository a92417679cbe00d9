"""Import published data sets into an EpisodeStore, and look into one.

mqe data import SRC --out STORE    read RLDS/TFDS shards, a raw BridgeData tree, or own recordings (MCAP)
mqe data merge STORE... --out STORE   several stores become one, nothing decoded again
mqe data info STORE                episodes, frames, cameras, action statistics, what was skipped
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe data`."""
    actions = parser.add_subparsers(dest="data_command", required=True, metavar="ACTION")
    importing = actions.add_parser("import", help="read a data set into a new store")
    importing.add_argument("source", metavar="SRC", type=Path, help="folder of the data set (or one TFRecord shard)")
    importing.add_argument("--out", metavar="STORE", type=Path, required=True, help="folder of the store to make")
    importing.add_argument(
        "--format",
        choices=["auto", "rlds", "bridge-raw", "ros-bag"],
        default="auto",
        help="format of SRC; auto goes by the files found (default)",
    )
    importing.add_argument(
        "--image-size",
        type=int,
        metavar="PX",
        help="height and width images are squashed to (default 128, as in training on Bridge; less where the images are smaller)",
    )
    importing.add_argument(
        "--workers", type=int, metavar="N", help="threads that decode and resize (default: all cores)"
    )
    importing.add_argument(
        "--force", action="store_true", help="replace the store at STORE, once the new one is complete"
    )
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
    info = actions.add_parser("info", help="what a store holds")
    info.add_argument("store", metavar="STORE", type=Path)
    info.add_argument("--json", action="store_true", help="as JSON")
    info.add_argument(
        "--verify",
        action="store_true",
        help="also read every byte and compare it with the checksums of the import",
    )


def run(args: argparse.Namespace) -> int:
    """Run `mqe data import`, `merge` or `info`."""
    return {"import": _import, "merge": _merge, "info": _info}[args.data_command](args)


def _import(args: argparse.Namespace) -> int:
    from mqe_core.data.importer import import_episodes, open_source

    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}")
    store = import_episodes(
        open_source(args.source, args.format),
        args.out,
        image_size=args.image_size,
        source_name=str(args.source),
        workers=args.workers,
        overwrite=args.force,
        progress=True,
    )
    sys.stdout.write(_describe(summarize(store)) + "\n")
    return 0


def _merge(args: argparse.Namespace) -> int:
    from mqe_core.data.episode_store import EpisodeStore
    from mqe_core.data.merge import merge_stores

    store = merge_stores(
        [EpisodeStore.open(path) for path in args.stores], args.out, overwrite=args.force, progress=True
    )
    sys.stdout.write(_describe(summarize(store)) + "\n")
    return 0


def _info(args: argparse.Namespace) -> int:
    from mqe_core.data.episode_store import EpisodeStore

    store = EpisodeStore.open(args.store)
    if args.verify:
        store.verify()
    summary = summarize(store)
    sys.stdout.write((json.dumps(summary, indent=2) if args.json else _describe(summary)) + "\n")
    return 0


def summarize(store) -> dict:
    """What `mqe data info --json` prints. Action statistics are over the frames that have an action."""
    actions = store.actions[store.valid].astype("float64")
    return {
        "path": str(store.path),
        "format": store.metadata["format"],
        "source": store.metadata["source"],
        "domain": store.metadata["domain"],
        "episodes": store.num_episodes,
        "frames": store.num_frames,
        "cameras": list(store.cameras),
        "episodes_per_camera": {str(c): int(store.has_image(c)[store.episode_starts].sum()) for c in store.cameras},
        "labelled_episodes": sum(bool(lines) for lines in store.languages),
        "image_size": store.image_size,
        "resize_rule": store.metadata["resize_rule"],
        "control_hz": store.control_hz,
        "action_mean": actions.mean(axis=0).tolist(),
        "action_std": actions.std(axis=0).tolist(),
        "skipped": store.metadata["skipped"],
        "fingerprint": store.fingerprint,
    }


def _describe(summary: dict) -> str:
    cameras = ", ".join(f"{c} ({count} episodes)" for c, count in summary["episodes_per_camera"].items()) or "none"
    lines = [
        f"{summary['path']}: {summary['episodes']} episodes, {summary['frames']} frames",
        f"  source       {summary['source']} ({summary['format']})",
        f"  cameras      {cameras}",
        f"  images       {summary['image_size']} px square, {summary['resize_rule']}, {summary['domain']}",
        f"  language     {summary['labelled_episodes']} episodes labelled",
        f"  control      {summary['control_hz']:g} Hz",
        f"  action mean  {_row(summary['action_mean'])}",
        f"  action std   {_row(summary['action_std'])}",
        f"  fingerprint  {summary['fingerprint']}",
        f"  skipped      {_count_skipped(summary['skipped'])}",
    ]
    lines += [f"    {entry['name']}: {entry['reason']}" for entry in summary["skipped"]]
    return "\n".join(lines)


def _row(values: list[float]) -> str:
    return " ".join(f"{value: .5f}" for value in values)


def _count_skipped(skipped: list[dict]) -> str:
    known = sum(entry["episodes"] or 0 for entry in skipped)
    unknown = sum(entry["episodes"] is None for entry in skipped)
    without = sum(entry["episodes"] == 0 for entry in skipped)
    return (
        f"{known} episodes"
        + (f", and an unknown number at {unknown} damaged or missing places" if unknown else "")
        + (f"; recordings without an episode: {without}" if without else "")
    )
