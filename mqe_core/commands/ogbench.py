"""Make data sets of OGBench's kinds here, with scripted experts; nothing is downloaded.

Made here are those of pointmaze (navigate, stitch), cube, scene and puzzle (play, noisy), with images or without.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe ogbench`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    generate = commands.add_parser("generate", help="write NAME.npz and NAME-val.npz in OGBench's own layout")
    generate.add_argument("name", metavar="NAME", help="the data set, such as pointmaze-giant-stitch-v0")
    generate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the two files go")
    generate.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default: 0)")
    generate.add_argument("--episodes", type=int, help="for training, instead of OGBench's number (and a tenth more)")


def run(args: argparse.Namespace) -> int:
    """Run `mqe ogbench`."""
    from mqe_core.ogbench.generate import generate
    from mqe_core.ogbench.names import parse_name

    train, validation = generate(parse_name(args.name), args.out, seed=args.seed, episodes=args.episodes)
    print(f"{train} and {validation.name}; next: mqe train --env {args.name} --dataset {args.out} --out RUN")
    return 0
