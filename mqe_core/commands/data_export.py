"""What `mqe data export` is asked, and how it goes about it."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("bridge-raw", "lerobot")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe data export`."""
    parser.add_argument("store", metavar="STORE", type=Path)
    parser.add_argument(
        "--to",
        choices=FORMATS,
        required=True,
        help="bridge-raw: a raw BridgeData tree, images as they are; lerobot: a LeRobot v3.0 data set, images as "
        "video, which is lossy",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; nothing may stand there")


def export_store(args: argparse.Namespace) -> str:
    """Do it; returns what was made, in a line. ValueError or WriteError where that cannot be."""
    from mqe_core.data.store.episode_store import EpisodeStore

    store = EpisodeStore.open(args.store)
    if args.to == "lerobot":
        from mqe_core.data.exports.lerobot_set import export_lerobot

        export_lerobot(store, args.out, progress=True)
    else:
        from mqe_core.data.exports.bridge_tree import export_bridge_tree

        export_bridge_tree(store, args.out, progress=True)
    return f"{args.out}: {store.num_episodes} episodes, {store.num_frames} frames ({args.to})"
