"""The training loop over a run folder: frames -> goal sampler -> batch -> agent loss -> Adam -> checkpoints and
curves.
"""

from __future__ import annotations

import copy
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from mqe_core.data.frames import Frames
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.disk import WriteError, require_space, write_atomically
from mqe_core.files.kinds import RUN, RUN_BEGUN
from mqe_core.files.outputs import check_folder
from mqe_core.learning.networks.actor import PolicyModule
from mqe_core.learning.rows.batches import BatchError
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder
from mqe_core.learning.run.begin import begin, frozen_encoder
from mqe_core.learning.run.checkpoint import MetricsTable, load_checkpoint, save_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, describe_run, read_metadata
from mqe_core.learning.run.trainer import Trainer

logger = logging.getLogger(__name__)


class Score(Protocol):
    """Measures a policy in its environment, every ``eval_every`` updates."""

    columns: tuple[str, ...]  # of metrics.csv

    def __call__(self, policy: PolicyModule) -> dict[str, float]:
        """A number for each column."""


def train(
    data: Path,
    out: Path,
    config: RunConfig,
    *,
    begin_from: Path | None = None,
    progress: bool = True,
    open_data: Callable[[Path], Frames] = EpisodeStore.open,
    score: Score | None = None,
) -> bool:
    """Train a new run for ``config.train.steps`` updates in the folder ``out``; False when Ctrl-C ended it early.

    ``open_data`` reads ``data``; ``score`` is what ``eval_every`` asks for.

    ``begin_from``: the run that it begins from; ``config.train.begin_with`` says with what of it. ValueError where
    ``out`` holds a run already, or anything else, and where what the run is to begin with does not fit. WriteError
    where the disk does not take the run, or is full on the way: then it can be resumed.
    """
    if RUN.stands_at(out):
        raise ValueError(f"{out} already holds a run: add --resume to continue it, or choose another --out")
    check_folder(out, RUN, reads=[data], continues=(RUN_BEGUN,), remedy="choose another --out")
    store = open_data(data)
    trainer = begin(store, config, frozen_encoder(config, store, out), begin_from, progress)
    metadata = describe_run(store, data, trainer, begin_from)
    write_atomically(out / "metadata.json", (json.dumps(metadata, indent=1) + "\n").encode())
    write_atomically(out / "config.yaml", config.to_yaml().encode())  # last: with it the folder is a run
    return _loop(trainer, out, progress, score)


def resume(
    data: Path,
    out: Path,
    config: RunConfig,
    *,
    progress: bool = True,
    open_data: Callable[[Path], Frames] = EpisodeStore.open,
    score: Score | None = None,
) -> bool:
    """Continue the run in the folder ``out`` to ``config.train.steps`` updates; False when Ctrl-C ended it early.

    A run that was interrupted before its first checkpoint begins again. ValueError where ``out`` holds no run, and
    where it was made from other data.
    """
    metadata, store = read_metadata(out), open_data(data)
    fingerprint = metadata["data"]["fingerprint"]
    if fingerprint != store.fingerprint:
        raise ValueError(
            f"{out} was trained on other data (fingerprint {fingerprint}, not {store.fingerprint}): give that store"
        )
    encoder = FrozenEncoder.load(out).encoder if config.train.features_of else None
    if _latest(out).exists():
        trainer = Trainer(store, config, progress, scale=action_scale(metadata), encoder=encoder)
        trainer.restore(load_checkpoint(_latest(out)))
        logger.info("resuming at step %d", trainer.step)
    else:
        source = metadata["begin_from"]
        trainer = begin(store, config, encoder, Path(source["path"]) if source else None, progress)
    write_atomically(out / "config.yaml", config.to_yaml().encode())
    return _loop(trainer, out, progress, score)


def _latest(run: Path) -> Path:
    return run / "checkpoints" / "latest.pt"


def _loop(trainer: Trainer, out: Path, progress: bool, score: Score | None) -> bool:
    """Train to the end, or to Ctrl-C (False). WriteError, with how to go on, where the disk takes no more; BatchError
    likewise where a batch cannot be made.
    """
    try:
        return _update_until_done(trainer, out, progress, score)
    except BatchError as error:
        save_checkpoint(_latest(out), trainer.state())
        raise BatchError(
            f"{error}; the run is kept as of step {trainer.step}: continue with mqe train --resume --out {out}"
        ) from error
    except OSError as error:
        raise WriteError(
            f"{error}; the run is kept as of its last checkpoint: continue with mqe train --resume --out {out}"
        ) from error
    finally:
        trainer.close()


def _checkpoint_bytes(trainer: Trainer) -> int:
    """What a checkpoint takes while it replaces the one before: weights and Adam's two moments, twice."""
    return 2 * 3 * sum(weights.numel() * weights.element_size() for weights in trainer.agent.parameters())


def _policy(trainer: Trainer) -> PolicyModule:
    """What would be deployed now, apart from what training goes on with."""
    agent = copy.deepcopy(trainer.agent)
    agent.load_state_dict(trainer.policy_weights())
    return agent.eval().policy_module()


def _update_until_done(trainer: Trainer, out: Path, progress: bool, score: Score | None) -> bool:
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

    train, latest = trainer.config.train, _latest(out)
    require_space(out, _checkpoint_bytes(trainer))
    table = MetricsTable(out / "metrics.csv", trainer.step, columns=score.columns if score else ())
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
                trainer.check()
                metrics = {**trainer.means.take(), **trainer.validate()}
                if score and train.eval_every and trainer.step % train.eval_every == 0:
                    metrics |= score(_policy(trainer))
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
