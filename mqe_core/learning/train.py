"""The training loop over a run folder: EpisodeStore -> goal sampler -> batch -> agent loss -> Adam -> checkpoints and curves."""

from __future__ import annotations

import json
import logging
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mqe_core.data.episode_store import EpisodeStore
from mqe_core.learning import config as configuration
from mqe_core.learning.actor import GoalActor
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.checkpoint import MetricsTable, load_checkpoint, save_checkpoint, write_atomically
from mqe_core.learning.features import copy_policy
from mqe_core.learning.frozen_encoder import FrozenEncoder, encoder_of_agent, encoder_of_bundle, is_bundle
from mqe_core.learning.networks import ImageEncoder
from mqe_core.learning.observations import ActionScale, ObservationSpec
from mqe_core.learning.trainer import RunConfig, Trainer, make_config

logger = logging.getLogger(__name__)

METADATA_SCHEMA = 1


def train(
    data: Path, out: Path, config: RunConfig, *, resume: bool = False, init: Path | None = None, progress: bool = True
) -> bool:
    """Train to ``config.train.steps`` updates in the run folder ``out``; False when Ctrl-C ended it early.

    ``init`` is a run whose weights are the first ones, and whose action scale is kept, as it is part of what they mean.
    Raises ValueError when the folder already holds a run (without ``resume``) or was made from other data, and where the networks of
    ``init`` are others.
    """
    if resume and init is not None:
        raise ValueError("a run that is continued has weights of its own: leave out --init")
    if init is not None and config.train.actor_from_encoder:
        raise ValueError("--init and actor_from_encoder both say how the policy begins: leave out one")
    if config.train.actor_from_encoder and is_bundle(config.train.features_of):
        raise ValueError("actor_from_encoder needs the run that trained the encoder in features_of, not a bundle")
    if config.train.frozen_convolutions and init is None and not resume:
        raise ValueError("frozen_convolutions keep the weights that they begin with: give them by --init")
    store = EpisodeStore.open(data)
    checkpoint = out / "checkpoints" / "latest.pt"
    if resume:
        fingerprint = read_metadata(out)["data"]["fingerprint"]
        if fingerprint != store.fingerprint:
            raise ValueError(
                f"{out} was trained on other data (fingerprint {fingerprint}, not {store.fingerprint}): give that store"
            )
    elif checkpoint.exists() or (out / "config.yaml").exists():
        raise ValueError(f"{out} already holds a run: add --resume to continue it, or choose another --out")
    kept = read_metadata(out) if resume else None if init is None else read_metadata(init)
    if resume and not checkpoint.exists() and kept.get("init"):  # interrupted before its first checkpoint
        init = Path(kept["init"]["path"])
    encoder = _frozen_encoder(config, store, out, resume)
    if kept is None and config.train.actor_from_encoder:
        kept = read_metadata(Path(config.train.features_of))
    trainer = Trainer(store, config, progress, scale=None if kept is None else action_scale(kept), encoder=encoder)
    if config.train.actor_from_encoder and not (resume and checkpoint.exists()):
        _take_policy(trainer)
    if init is not None:
        _take_weights(trainer, init)
    if resume and checkpoint.exists():
        trainer.restore(load_checkpoint(checkpoint))
        logger.info("resuming at step %d", trainer.step)
    write_atomically(out / "config.yaml", config.to_yaml().encode())
    if not resume:
        metadata = describe_run(store, data, trainer, init)
        write_atomically(out / "metadata.json", (json.dumps(metadata, indent=1) + "\n").encode())
    return _loop(trainer, out, progress)


def _frozen_encoder(config: RunConfig, store: EpisodeStore, out: Path, resume: bool) -> ImageEncoder | None:
    """The encoder of ``features_of``, copied into the run folder ``out``; None where the configuration names none."""
    source = config.train.features_of
    if not source:
        return None
    if resume:
        return FrozenEncoder.load(out).encoder
    frozen = encoder_of_bundle(source) if is_bundle(source) else _encoder_of_run(source)
    size = frozen.image_size
    if size != store.image_size:
        raise ValueError(
            f"the encoder of {source} takes images of {size} pixels, the data has {store.image_size}: import with --image-size {size}"
        )
    frozen.save(out)
    return frozen.encoder


def _encoder_of_run(source: str) -> FrozenEncoder:
    """ValueError where the run was not trained from pixels, or has no encoder of single images."""
    agent, config, metadata = load_run(source)
    if metadata["observation"]["kind"] != "pixels":
        raise ValueError(f"{source} was not trained from pixels: features_of needs the run that trained the encoder")
    return FrozenEncoder(encoder_of_agent(agent, source), config.agent.encoder, metadata["observation"]["image_size"])


def _take_weights(trainer: Trainer, init: Path) -> None:
    agent, config, _ = load_run(init)
    if config.train.agent != trainer.config.train.agent:
        raise ValueError(
            f"{init} holds {config.train.agent}, not {trainer.config.train.agent}; give --agent {config.train.agent}"
        )
    try:
        trainer.agent.load_state_dict(agent.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"the networks of {init} are others than these ({error}); give it the same configuration"
        ) from error
    trainer.restart_average()


def _take_policy(trainer: Trainer) -> None:
    source, _, _ = load_run(trainer.config.train.features_of)
    actors = [getattr(agent, "actor", None) for agent in (source, trainer.agent)]
    if not all(isinstance(actor, GoalActor) for actor in actors) or actors[0].encoder.early:
        raise ValueError(
            "actor_from_encoder needs an agent, and a run that trained the encoder, with a policy that sees each image alone"
        )
    copy_policy(*actors)
    trainer.restart_average()


def _loop(trainer: Trainer, out: Path, progress: bool) -> bool:
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

    train, latest = trainer.config.train, out / "checkpoints" / "latest.pt"
    table = MetricsTable(out / "metrics.csv", trainer.step)
    curves = SummaryWriter(str(out / "tensorboard"), purge_step=trainer.step)
    bar = tqdm(
        total=train.steps, initial=trainer.step, desc=train.agent, unit="step", disable=not progress, mininterval=1.0
    )
    last_log, steps_since_log = time.monotonic(), 0
    with curves, bar, _stop_on_interrupt() as stop:
        while trainer.step < train.steps and not stop.is_set():
            trainer.update()
            steps_since_log += 1
            bar.update()
            if trainer.step % train.log_every == 0:
                metrics = {**trainer.means.take(), **trainer.validate()}
                table.append(trainer.step, metrics)
                now = time.monotonic()
                for name, value in {**metrics, "steps_per_second": steps_since_log / (now - last_log)}.items():
                    curves.add_scalar(name, value, trainer.step)
                last_log, steps_since_log = now, 0
                bar.set_postfix(loss=f"{metrics['loss']:.3f}", refresh=False)
            if train.snapshot_every and trainer.step % train.snapshot_every == 0:
                snapshot = {"step": trainer.step, "agent": trainer.policy_weights()}
                save_checkpoint(latest.with_name(f"step_{trainer.step:08d}.pt"), snapshot)
            if trainer.step % train.checkpoint_every == 0:
                save_checkpoint(latest, trainer.state())
        save_checkpoint(latest, trainer.state())
    return trainer.step >= train.steps


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C asks the loop to stop after its update and save; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(signum, frame) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def describe_run(store: EpisodeStore, data: Path, trainer: Trainer, init: Path | None) -> dict[str, Any]:
    """The metadata of a run folder: what a bundle's contract needs and where the data came from."""
    spec = trainer.observations.spec
    return {
        "schema": METADATA_SCHEMA,
        "agent": trainer.config.train.agent,
        "discount": trainer.agent.discount,
        "observation": {"kind": spec.kind, "image_size": spec.image_size, "state_dim": spec.state_dim},
        "camera": trainer.config.train.camera,
        "action_low": trainer.action_scale.low.tolist(),
        "action_high": trainer.action_scale.high.tolist(),
        "data": {
            "path": str(data.resolve()),
            "fingerprint": store.fingerprint,
            "num_episodes": int(store.num_episodes),
            "num_frames": int(store.num_frames),
            "metadata": {name: value for name, value in store.metadata.items() if name not in ("files", "skipped")},
        },
        "init": None
        if init is None
        else {"path": str(init.resolve()), "data": read_metadata(init)["data"]["fingerprint"]},
        "commit": _git_commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }


def _git_commit() -> str | None:
    """The commit of the code that trains, or None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def read_config(run_dir: Path) -> RunConfig:
    """The configuration of a run folder."""
    path = Path(run_dir) / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir} is not a run folder: config.yaml is missing")
    return make_config(configuration.read_values(path))


def read_metadata(run_dir: Path) -> dict[str, Any]:
    """The metadata of a run folder."""
    path = Path(run_dir) / "metadata.json"
    if not path.is_file():
        raise ValueError(f"{run_dir} is not a run folder: metadata.json is missing")
    metadata = json.loads(path.read_text())
    if metadata.get("schema") != METADATA_SCHEMA:
        raise ValueError(f"{path} has schema {metadata.get('schema')}, this code reads {METADATA_SCHEMA}: train again")
    return metadata


def load_run(run_dir: str | Path, checkpoint: str = "latest") -> tuple[nn.Module, RunConfig, dict[str, Any]]:
    """The trained agent (on the CPU, in evaluation mode), its configuration and metadata.

    ``checkpoint`` is "latest" or the name of a kept one, such as "step_00003000". The metadata gains ``step``, the updates done.
    """
    run_dir = Path(run_dir)
    config, metadata = read_config(run_dir), read_metadata(run_dir)
    spec = ObservationSpec(**metadata["observation"])
    agent = AGENTS[config.train.agent][0](config.agent, spec, len(metadata["action_low"]))
    state = load_checkpoint(run_dir / "checkpoints" / f"{checkpoint}.pt")
    try:
        agent.load_state_dict(state["agent"])
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint in {run_dir} does not fit the networks of this version: train again ({error})"
        ) from error
    for parameter, mean in zip(agent.parameters(), state.get("average", ())):  # empty unless average_decay is on
        parameter.data.copy_(mean)
    if spec.kind == "features":
        agent.image_encoder = FrozenEncoder.load(run_dir).encoder
    return agent.eval(), config, {**metadata, "step": state["step"]}


def action_scale(metadata: dict[str, Any]) -> ActionScale:
    """The action scale of a run's metadata."""
    low, high = (np.asarray(metadata[name], dtype=np.float32) for name in ("action_low", "action_high"))
    return ActionScale(low, high)
