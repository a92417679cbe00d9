"""Train an agent on an episode store.

Every key of the configuration has a default; a YAML file or a preset (--config) overrides the defaults, and --set overrides it.
`mqe train --show-config` prints all keys with their meaning, in a form that --config reads.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="episode store, made by `mqe data import` (with --resume: default as before)"
    )
    parser.add_argument("--out", type=Path, help="run folder to create: checkpoints, metrics.csv, TensorBoard curves")
    parser.add_argument("--agent", help="algorithm: mqe, or the baselines gcbc, gciql, tra (default: mqe)")
    parser.add_argument("--steps", type=int, help="updates in total")
    parser.add_argument("--batch-size", type=int, help="rows per update")
    parser.add_argument("--seed", type=int, help="seed of weights, sampling and augmentation")
    presets = "sim_pixels (64-pixel images of the sim), sim_encoder, sim_encoder_gpu, sim_features (encoder first, then any agent on it), bridge_cpu"
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"YAML file of keys (those of other agents are skipped), or a preset: {presets}",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key; may be repeated"
    )
    parser.add_argument(
        "--init",
        type=Path,
        metavar="RUN",
        help="begin with the weights and the action scale of this run, to go on with other data",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out; only --steps may change")
    parser.add_argument(
        "--show-config", action="store_true", help="print the resulting configuration with meanings, and stop"
    )


def run(args: argparse.Namespace) -> int:
    # torch's OpenMP threads spin while they wait; beside any other busy process that slows each other's work many times over.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    _keep_freed_memory()

    from mqe_core.learning import config as configuration
    from mqe_core.learning.train import make_config, read_config, read_metadata, train
    from mqe_core.learning.trainer import keys_for

    from_file = dict(configuration.read_values(args.config)) if args.config else {}
    given = dict(configuration.parse_assignment(text) for text in args.set)
    for name in ("agent", "steps", "batch_size", "seed"):
        if getattr(args, name) is not None:
            given[name] = getattr(args, name)
    agent = given.get("agent", from_file.get("agent", "mqe"))
    values = {**keys_for(agent, from_file), **given}
    if args.show_config:
        sys.stdout.write(make_config(values).to_yaml())
        return 0
    if args.out is None:
        raise ValueError("give --out, the run folder to create (or to continue, with --resume)")

    data = args.data
    if args.resume:
        stored = configuration.as_values(read_config(args.out))
        config = make_config({**stored, **values})
        changed = {name for name, value in configuration.as_values(config).items() if value != stored[name]} - {"steps"}
        if changed:
            raise ValueError(
                f"--resume continues with the run's own configuration; {', '.join(sorted(changed))} cannot change"
            )
        data = data or Path(read_metadata(args.out)["data"]["path"])
    else:
        config = make_config(values)
    if data is None:
        raise ValueError("give --data, an episode store made by `mqe data import`")
    if train(data, args.out, config, resume=args.resume, init=args.init):
        print(f"{args.out}: trained {config.train.steps} steps; next: mqe export {args.out} --out policy.onnx")
        return 0
    sys.stderr.write(f"interrupted; continue with: mqe train --resume --out {args.out}\n")
    return 130


def _keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks. By default each goes back to the system at once, and every update waits for new pages to be cleared."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library: only slower
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 2**31 - 1)
