"""Train an agent on an episode store, or on a data set of OGBench.

Every key of the configuration has a default; a YAML file or a preset (--config) overrides the defaults, and --set
overrides it. `mqe train --show-config` prints all keys with their meaning, in a form that --config reads.

`torchrun --standalone --nproc-per-node N --no-python mqe train ...` trains the same run from images on N GPUs.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mqe_core.learning.ranks.ranks import Ranks
    from mqe_core.learning.run.run_config import RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe train`."""
    parser.add_argument(
        "--data", type=Path, help="episode store, made by `mqe data import` (with --resume: default as before)"
    )
    parser.add_argument("--out", type=Path, help="run folder to create: checkpoints, metrics.csv, TensorBoard curves")
    parser.add_argument(
        "--agent",
        help="algorithm: mqe (default), or gcbc, gciql, gcivl, hiql, nsacbc, tra, crl, cmd, tmd, qrl",
    )
    parser.add_argument("--steps", type=int, help="updates in total")
    parser.add_argument("--batch-size", type=int, help="rows per update")
    parser.add_argument("--seed", type=int, help="seed of weights, sampling and augmentation")
    presets = (
        "sim_pixels (64-pixel images of the sim), sim_encoder, sim_encoder_gpu, sim_features (encoder first, then "
        "any agent on it), bridge, bridge_cpu, ogbench_state, ogbench_pixels"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"YAML file of keys (those of other agents are skipped), or a preset: {presets}",
    )
    parser.add_argument(
        "--env",
        metavar="NAME",
        help="a data set of OGBench, such as pointmaze-giant-stitch-v0: its preset (ogbench_state or ogbench_pixels) "
        "and the agent's coefficients for it come first; --config and --set override them",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="PATH",
        help="with --env: its .npz file, or the folder that holds it under its name (default: ~/.ogbench/data)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one key; may be repeated"
    )
    parser.add_argument(
        "--begin-from",
        type=Path,
        metavar="RUN",
        help="begin with the action scale of this run and its weights (key begin_with: all of them, or the policy's "
        "alone, which a policy bundle has as well)",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out; only --steps may change")
    parser.add_argument(
        "--show-config", action="store_true", help="print the resulting configuration with meanings, and stop"
    )


def run(args: argparse.Namespace) -> int:
    """Run `mqe train`; 130 where Ctrl-C ended it early."""
    # torch's OpenMP threads spin while they wait; beside any other busy process that slows each other's work many times
    # over.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if "TORCHELASTIC_RUN_ID" in os.environ:  # of torchrun
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a rank that is gone is told in one line, not by frames
    _keep_freed_memory()

    from mqe_core.learning.ranks.ranks import joined_ranks

    with joined_ranks() as ranks:
        if not ranks.first:
            logging.disable(logging.WARNING)  # rank 0 says the same
        return _train(args, ranks)


def _train(args: argparse.Namespace, ranks: Ranks) -> int:
    """As :func:`run`, as one of several ranks or alone."""
    from mqe_core.learning.ranks.watch import INTERRUPTED
    from mqe_core.learning.run import config as configuration
    from mqe_core.learning.run.run_config import keys_for, make_config
    from mqe_core.learning.run.run_folder import read_config, read_metadata
    from mqe_core.learning.run.train import resume, train
    from mqe_core.learning.run.tuned import preset_of, require_dataset, tuned

    from_file = dict(configuration.read_values(args.config)) if args.config else {}
    given = dict(configuration.parse_assignment(text) for text in args.set)
    for name in ("agent", "steps", "batch_size", "seed"):
        if getattr(args, name) is not None:
            given[name] = getattr(args, name)
    agent = str(given.get("agent", from_file.get("agent", "mqe")))  # what is no text is refused with all keys
    values, taken = {}, ""
    if args.env is not None:
        dataset = require_dataset(args.env)
        of_dataset = tuned(dataset, agent)
        preset = configuration.read_values(Path(preset_of(dataset)))
        values = {**keys_for(agent, preset), **keys_for(agent, of_dataset.values)}
        taken = of_dataset.comment(dataset, agent)
    values |= {**keys_for(agent, from_file), **given}
    if args.show_config:
        sys.stdout.write(taken + make_config(values).to_yaml() if ranks.first else "")
        return 0
    if args.out is None:
        raise ValueError("give --out, the run folder to create (or to continue, with --resume)")

    if args.resume:
        if args.begin_from is not None:
            raise ValueError("a run that is continued has weights of its own: leave out --begin-from")
        stored = ranks.from_first(lambda: configuration.as_values(read_config(args.out)))
        asked = given if args.env else values
        changed = {"agent"} if asked.get("agent", stored["agent"]) != stored["agent"] else set()
        config = make_config(stored if changed else {**stored, **asked})
        changed |= {name for name, value in configuration.as_values(config).items() if value != stored[name]} - {
            "steps"
        }
        if changed:
            raise ValueError(
                f"--resume continues with the run's own configuration; {', '.join(sorted(changed))} cannot change"
            )
        metadata = ranks.from_first(lambda: read_metadata(args.out)["data"])
        data, how = _data(args, config, metadata["metadata"].get("name"), Path(metadata["path"]))
        finished = resume(data, args.out, config, progress=ranks.first, ranks=ranks, **how)
    else:
        config = make_config(values)
        data, how = _data(args, config, args.env, None)
        finished = train(data, args.out, config, begin_from=args.begin_from, progress=ranks.first, ranks=ranks, **how)
    if ranks.first and finished:
        following = f"mqe eval --run {args.out}" if "open_data" in how else f"mqe export {args.out} --out policy.onnx"
        print(f"{args.out}: trained {config.train.steps} steps; next: {following}")
    elif ranks.first:
        sys.stderr.write(f"interrupted; continue with: mqe train --resume --out {args.out}\n")
    return 0 if finished else INTERRUPTED


def _data(
    args: argparse.Namespace, config: RunConfig, name: str | None, before: Path | None
) -> tuple[Path, dict[str, Any]]:
    """Where the data lies, and how the training loop reads and scores it. ``name``: the data set of OGBench, None where
    it is a store; ``before``: where a run that is continued had it.
    """
    if name is None:
        if args.dataset is not None:
            raise ValueError("--dataset is of OGBench: name the data set with --env, or give a store with --data")
        if config.train.eval_every:
            raise ValueError("eval_every needs an environment: name a data set of OGBench with --env")
        store = args.data or before
        if store is None:
            raise ValueError("give --data, an episode store made by `mqe data import`, or --env, a data set of OGBench")
        return store, {}
    from mqe_core.ogbench.dataset import dataset_file
    from mqe_core.ogbench.names import parse_name
    from mqe_core.ogbench.training import EnvironmentScore, opener

    if args.data is not None:
        raise ValueError("--data is an episode store: give OGBench's file with --dataset")
    parsed = parse_name(name)
    train = config.train
    if train.action_scale != "identity":
        raise ValueError(
            f"action_scale: {train.action_scale} takes the last number of an action for a gripper's; OGBench's are in "
            "[-1, 1] as they are: leave it at identity"
        )
    score = EnvironmentScore(parsed, train.eval_episodes, train.seed) if train.eval_every else None
    file = before if before and args.dataset is None else dataset_file(parsed, args.dataset)
    return file, {"open_data": opener(parsed), "score": score}


def _keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks. By default each goes back to the system at once, and every update waits for new
    pages to be cleared.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library: only slower
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 2**31 - 1)
