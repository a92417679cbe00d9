"""Run folders on disk: atomic checkpoints, the metrics table, and the small files that describe a run.

RUN/config.yaml              every key of the run, with its meaning
RUN/metadata.json            what the data was and how actions are scaled (see run_folder.describe_run)
RUN/metrics.csv              one row per logged step; no times in it, so two equal runs give equal files
RUN/tensorboard/             the same curves, and the speed
RUN/checkpoints/latest.pt    everything that resuming needs
RUN/checkpoints/step_*.pt    networks only, kept every `snapshot_every` steps
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mqe_core.files.disk import write_atomically, writing


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Store tensors, numbers, strings, lists and dicts of them, atomically."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; only tensors and plain containers are unpickled."""
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}: train first, or name a run folder that holds checkpoints/latest.pt")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise ValueError(
            f"{path} cannot be read as a checkpoint ({error}); use an older step_*.pt or train again"
        ) from error


def take_weights(module: nn.Module, weights: dict[str, Any], whose: str = "the checkpoint") -> None:
    """ValueError where they are of other networks: another version may have built them otherwise."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{whose} does not fit the networks of this version: train again ({error})") from error


class MetricMeans:
    """Means of scalar metrics between two log lines. Part of a checkpoint, so that a resumed run logs the same
    numbers. They are summed where they lie: a GPU is not waited for.
    """

    def __init__(self) -> None:
        self.count = 0
        self._names: tuple[str, ...] = ()
        self._totals = torch.zeros(0, dtype=torch.float64)

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Each has one number. The names are those of the last time, but where a run of another version goes on."""
        values = torch.stack([value.detach().reshape(()) for value in metrics.values()]).double()
        if self._names != tuple(metrics):
            before, _ = self.state()
            sums = [before.get(name, 0.0) for name in metrics]
            self._names, self._totals = tuple(metrics), torch.tensor(sums, dtype=torch.float64, device=values.device)
        self._totals += values
        self.count += 1

    def state(self) -> tuple[dict[str, float], int]:
        """The sums, and of how many."""
        return dict(zip(self._names, self._totals.tolist())), self.count

    def restore(self, sums: dict[str, float], count: int, device: torch.device) -> None:
        """Continue from :meth:`state`."""
        self._names, self.count = tuple(sums), count
        self._totals = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        sums, count = self.state()
        self._totals, self.count = torch.zeros_like(self._totals), 0
        return {name: total / count for name, total in sums.items()}


class MetricsTable:
    """``metrics.csv``: a header, then one row per logged step. Reopening drops rows past ``last_step``; the first row
    after that may bring columns that an earlier version did not log. ``columns`` are those that only some rows fill.
    """

    def __init__(self, path: Path, last_step: int, columns: Iterable[str] = ()) -> None:
        self._path, self._sometimes = path, set(columns)
        self._columns: list[str] = []
        self._earlier: list[list[str]] = []  # rows of before, until the first one of ours says which columns there are
        if path.is_file():
            with open(path, newline="") as file:
                rows = list(csv.reader(file))
            if rows:
                self._columns = rows[0]
                # A crash may have cut the last line, and steps after the checkpoint will be logged again.
                kept = [row for row in rows[1:] if len(row) == len(self._columns) and int(row[0]) <= last_step]
                write_atomically(path, _csv_bytes([self._columns, *kept]))
                self._earlier = kept

    def append(self, step: int, metrics: dict[str, float]) -> None:
        """Add one row; the first row fixes the columns."""
        rows: list[list[str]] = []
        if not self._columns:
            self._columns = ["step", *sorted(self._sometimes | metrics.keys())]
            rows.append(self._columns)
        if self._earlier:
            new = sorted((self._sometimes | metrics.keys()) - set(self._columns))
            self._columns += new
            if new:
                padded = [row + [""] * len(new) for row in self._earlier]
                write_atomically(self._path, _csv_bytes([self._columns, *padded]))
            self._earlier = []
        unknown = set(metrics) - set(self._columns)
        if unknown:
            raise RuntimeError(
                f"metrics {sorted(unknown)} are not columns of {self._path}: every row needs the same metrics"
            )
        rows.append([str(step), *(f"{metrics[name]:.9g}" if name in metrics else "" for name in self._columns[1:])])
        with writing(self._path), open(self._path, "ab") as file:
            file.write(_csv_bytes(rows))


def _csv_bytes(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
