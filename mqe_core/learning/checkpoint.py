"""Run folders on disk: atomic checkpoints, the metrics table, and the small files that describe a run.

RUN/config.yaml              every key of the run, with its meaning
RUN/metadata.json            what the data was and how actions are scaled (see train.describe_run)
RUN/metrics.csv              one row per logged step; no times in it, so two equal runs give equal files
RUN/tensorboard/             the same curves, and the speed
RUN/checkpoints/latest.pt    everything that resuming needs
RUN/checkpoints/step_*.pt    networks only, kept every `snapshot_every` steps
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path`` and rename over it, so that a crash leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Store tensors, numbers, strings, lists and dicts of them, atomically."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, buffer.getvalue())


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


class MetricMeans:
    """Means of scalar metrics between two log lines. Part of a checkpoint, so that a resumed run logs the same numbers."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class MetricsTable:
    """``metrics.csv``: a header, then one row per logged step. Reopening drops rows past ``last_step``."""

    def __init__(self, path: Path, last_step: int) -> None:
        self._path = path
        self._columns: list[str] = []
        if path.is_file():
            with open(path, newline="") as file:
                rows = list(csv.reader(file))
            if rows:
                self._columns = rows[0]
                # A crash may have cut the last line, and steps after the checkpoint will be logged again.
                kept = [row for row in rows[1:] if len(row) == len(self._columns) and int(row[0]) <= last_step]
                write_atomically(path, _csv_bytes([self._columns, *kept]))

    def append(self, step: int, metrics: dict[str, float]) -> None:
        """Add one row; the first row fixes the columns."""
        rows: list[list[str]] = []
        if not self._columns:
            self._columns = ["step", *sorted(metrics)]
            rows.append(self._columns)
        unknown = set(metrics) - set(self._columns)
        if unknown:
            raise RuntimeError(
                f"metrics {sorted(unknown)} are not columns of {self._path}: every row needs the same metrics"
            )
        rows.append([str(step), *(f"{metrics[name]:.9g}" if name in metrics else "" for name in self._columns[1:])])
        with open(self._path, "ab") as file:
            file.write(_csv_bytes(rows))


def _csv_bytes(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
