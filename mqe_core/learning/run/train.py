"""The training loop over a run folder: frames -> goal sampler -> batch -> agent loss -> Adam -> checkpoints and
curves.
"""

from __future__ import annotations

import copy
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from mqe_core.data.frames import Frames
from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files.disk import WriteError, write_atomically
from mqe_core.files.kinds import RUN, RUN_BEGUN
from mqe_core.files.outputs import check_folder
from mqe_core.files.progress import Progress
from mqe_core.learning.networks.actor import PolicyModule
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.rows.batches import BatchError
from mqe_core.learning.rows.frozen_encoder import FrozenEncoder
from mqe_core.learning.run.begin import begin, frozen_encoder
from mqe_core.learning.run.checkpoint import load_checkpoint, save_checkpoint
from mqe_core.learning.run.records import Records, latest_checkpoint
from mqe_core.learning.run.run_config import RunConfig
from mqe_core.learning.run.run_folder import action_scale, describe_run, read_metadata
from mqe_core.learning.run.shareable import require_shareable
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
    ranks: Ranks = ALONE,
) -> bool:
    """Train a new run for ``config.train.steps`` updates in the folder ``out``; False when Ctrl-C ended it early.

    ``open_data`` reads ``data``; ``score`` is what ``eval_every`` asks for. ``ranks``: the processes that train it; the
    first one writes the folder.

    ``begin_from``: the run or bundle that it begins from; ``config.train.begin_with`` says with what of it. ValueError
    where ``out`` holds a run already, or anything else, and where what the run is to begin with does not fit.
    WriteError where the disk does not take the run, or is full on the way: then it can be resumed.
    """
    if ranks.first and RUN.stands_at(out):
        raise ValueError(f"{out} already holds a run: add --resume to continue it, or choose another --out")
    if ranks.first:
        check_folder(out, RUN, reads=[data], continues=(RUN_BEGUN,), remedy="choose another --out")
    store = open_data(data)
    require_shareable(config, store, ranks)
    trainer = begin(store, config, frozen_encoder(config, store, out), begin_from, progress, ranks)
    if ranks.first:
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
    ranks: Ranks = ALONE,
) -> bool:
    """Continue the run in the folder ``out`` to ``config.train.steps`` updates; False when Ctrl-C ended it early.

    A run that was interrupted before its first checkpoint begins again. ValueError where ``out`` holds no run, and
    where it was made from other data. How many ``ranks`` trained it before does not matter.
    """
    metadata, store = ranks.from_first(lambda: read_metadata(out)), open_data(data)
    fingerprint = metadata["data"]["fingerprint"]
    if fingerprint != store.fingerprint:
        raise ValueError(
            f"{out} was trained on other data (fingerprint {fingerprint}, not {store.fingerprint}): give that store"
        )
    require_shareable(config, store, ranks)
    encoder = FrozenEncoder.load(out).encoder if config.train.features_of else None
    latest = latest_checkpoint(out)
    checkpoint = ranks.from_first(lambda: load_checkpoint(latest) if latest.exists() else None)
    if checkpoint is not None:
        trainer = Trainer(store, config, progress, scale=action_scale(metadata), encoder=encoder, ranks=ranks)
        trainer.restore(checkpoint)
        logger.info("resuming at step %d", trainer.step)
    else:
        source = metadata["begin_from"]
        trainer = begin(store, config, encoder, Path(source["path"]) if source else None, progress, ranks)
    if ranks.first:
        write_atomically(out / "config.yaml", config.to_yaml().encode())
    return _loop(trainer, out, progress, score)


def _loop(trainer: Trainer, out: Path, progress: bool, score: Score | None) -> bool:
    """Train to the end, or to Ctrl-C (False). WriteError, with how to go on, where the disk takes no more; BatchError
    likewise where a batch cannot be made.
    """
    try:
        return _update_until_done(trainer, out, progress, score)
    except BatchError as error:
        if trainer.ranks.first:
            save_checkpoint(latest_checkpoint(out), trainer.state())
        trainer.ranks.wait_for_all()  # the end of one ends all, and it may take seconds to save
        raise BatchError(
            f"{error}; the run is kept as of step {trainer.step}: continue with mqe train --resume --out {out}"
        ) from error
    except OSError as error:
        raise WriteError(
            f"{error}; the run is kept as of its last checkpoint: continue with mqe train --resume --out {out}"
        ) from error
    finally:
        trainer.close()


def _policy(trainer: Trainer) -> PolicyModule:
    """What would be deployed now, apart from what training goes on with."""
    agent = copy.deepcopy(trainer.agent)
    agent.load_state_dict(trainer.policy_weights())
    return agent.eval().policy_module()


def _update_until_done(trainer: Trainer, out: Path, progress: bool, score: Score | None) -> bool:
    train, ranks = trainer.config.train, trainer.ranks
    # Where the ranks' processors differ, what they drew and computed so far may, too, in the last digits.
    ranks.broadcast([*trainer.agent.parameters(), *trainer.agent.buffers(), *trainer.average])
    bar = Progress(
        total=train.steps, initial=trainer.step, desc=train.agent, unit="step", disable=not progress, mininterval=1.0
    )
    records = Records(trainer, out, score.columns if score else ()) if ranks.first else None
    with records or nullcontext(), bar, _stop_on_interrupt() as stop:
        while trainer.step < train.steps and not ranks.any(stop.is_set()):
            trainer.update()
            bar.update()
            if trainer.step % train.log_every == 0:
                trainer.check()
                metrics = {**trainer.means.take(), **trainer.validate()}
                bar.set_postfix(loss=f"{metrics['loss']:.3f}", refresh=False)
                if records is not None:
                    if score and train.eval_every and trainer.step % train.eval_every == 0:
                        metrics |= score(_policy(trainer))
                    records.log(metrics)
            if records is not None:
                if train.snapshot_every and trainer.step % train.snapshot_every == 0:
                    records.snapshot()
                if trainer.step % train.checkpoint_every == 0:
                    records.checkpoint()
        if records is not None:
            records.checkpoint()
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
