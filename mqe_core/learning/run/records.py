"""What a run writes into its folder while it trains: checkpoints, the metrics table, TensorBoard's curves."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mqe_core.files.disk import require_space
from mqe_core.learning.run.checkpoint import MetricsTable
from mqe_core.learning.run.checkpoint_writer import CheckpointWriter
from mqe_core.learning.run.trainer import Trainer

logger = logging.getLogger(__name__)


class Records:
    """Of one trainer; of several ranks only the first one has them."""

    def __init__(self, trainer: Trainer, out: Path, columns: Iterable[str] = ()) -> None:
        """``columns``: of metrics.csv, which only some rows fill. WriteError where the disk has no room."""
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only training needs it

        self._trainer, self._latest = trainer, latest_checkpoint(out)
        require_space(out, _checkpoint_bytes(trainer))
        self._table = MetricsTable(out / "metrics.csv", trainer.step, columns=columns)
        self._curves = SummaryWriter(str(out / "tensorboard"), purge_step=trainer.step)
        self._logged = trainer.step, time.monotonic()
        self._writer = CheckpointWriter()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        """Waits for the last checkpoint; raises what went wrong with it, unless something else did already."""
        try:
            self._writer.wait()
        except OSError as failed:
            if kind is None:
                raise
            logger.error("and the last checkpoint is missing: %s", failed)
        finally:
            self._curves.close()

    def log(self, metrics: dict[str, float]) -> None:
        """A row of the table and a point of each curve, that of the speed among them."""
        step, now = self._trainer.step, time.monotonic()
        self._table.append(step, metrics)
        last_step, last_time = self._logged
        for name, value in {**metrics, "steps_per_second": (step - last_step) / (now - last_time)}.items():
            self._curves.add_scalar(name, value, step)
        self._logged = step, now

    def snapshot(self) -> None:
        """The networks as they would be deployed, in a file of their own."""
        step = self._trainer.step
        kept = {"step": step, "agent": self._trainer.policy_weights()}
        self._writer.write(self._latest.with_name(f"step_{step:08d}.pt"), kept)

    def checkpoint(self) -> None:
        """All that resuming needs."""
        self._writer.write(self._latest, self._trainer.state())


def latest_checkpoint(run: Path) -> Path:
    """That from which a run folder's training goes on."""
    return run / "checkpoints" / "latest.pt"


def _checkpoint_bytes(trainer: Trainer) -> int:
    """What a checkpoint takes while it replaces the one before: weights and Adam's two moments, twice."""
    return 2 * 3 * sum(weights.numel() * weights.element_size() for weights in trainer.agent.parameters())
