"""Learning curves of run folders: read from metrics.csv, grouped by what was run, with mean and interval over seeds."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mqe_core.learning.run.config import as_values
from mqe_core.learning.run.run_folder import read_config, read_metadata

# Student's t, two-sided 95 %, for 1, 2, ... degrees of freedom; beyond, the normal's.
_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
_Z_95 = 1.960
# Keys in which the runs of one curve may differ.
_FREE = {"seed", "steps", "threads", "device", "log_every", "checkpoint_every", "snapshot_every", "eval_every"}


@dataclass(frozen=True)
class Curve:
    """One line of a figure."""

    label: str
    steps: np.ndarray  # (T,) updates, those that every seed has
    values: np.ndarray  # (seeds, T)

    @property
    def mean(self) -> np.ndarray:
        """``(T,)``."""
        return self.values.mean(0)

    @property
    def half_width(self) -> np.ndarray | None:
        """``(T,)``: half of the 95 % interval of the mean over seeds (Student's t); None for one seed."""
        seeds = len(self.values)
        if seeds < 2:
            return None
        quantile = _T_95[seeds - 2] if seeds - 2 < len(_T_95) else _Z_95
        return quantile * self.values.std(0, ddof=1) / np.sqrt(seeds)


def curves_of_runs(runs: list[Path], metric: str) -> list[Curve]:
    """One curve per agent, data and configuration, in the order of the runs; ValueError where a run lacks the metric.

    The label names what the curves differ in.
    """
    groups: dict[tuple, list[Path]] = defaultdict(list)
    for run in runs:
        values = as_values(read_config(run))
        fixed = tuple(sorted((key, repr(value)) for key, value in values.items() if key not in _FREE))
        groups[(read_metadata(run)["data"]["fingerprint"], fixed)].append(run)
    labels = _labels(list(groups))
    return [_curve(label, group, metric) for label, group in zip(labels, groups.values())]


def _labels(keys: list[tuple]) -> list[str]:
    """The agent, and the keys that tell its curves apart."""
    configs = [dict(fixed) for _, fixed in keys]
    labels = []
    for (data, _), config in zip(keys, configs):
        alike = [other for other in configs if other["agent"] == config["agent"]]
        differing = [key for key in config if any(other.get(key) != config[key] for other in alike)]
        words = [config["agent"].strip("'"), *(f"{key}={config[key]}" for key in differing)]
        labels.append(", ".join(words) + ("" if len({data for data, _ in keys}) == 1 else f" (data {data[:6]})"))
    return labels


def _curve(label: str, runs: list[Path], metric: str) -> Curve:
    tables = [_read(run, metric) for run in runs]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    if not shared:
        raise ValueError(f"{', '.join(map(str, runs))}: no update at which all of them have {metric}")
    return Curve(label, np.array(shared), np.array([[table[step] for step in shared] for table in tables]))


def _read(run: Path, metric: str) -> dict[int, float]:
    """Update -> value; ValueError with the nearest names where the table has no such column."""
    path = run / "metrics.csv"
    if not path.is_file():
        raise ValueError(f"{run} has no metrics.csv yet: it logs its first row after log_every updates")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if metric not in columns:
            near = ", ".join(difflib.get_close_matches(metric, columns, n=3, cutoff=0.2) or columns[1:4])
            raise ValueError(f"{path} has no column {metric!r}; near ones: {near}")
        return {int(row["step"]): float(row[metric]) for row in reader if row[metric]}


def draw_curves(curves: list[Curve], metric: str, out: Path) -> None:
    """A PNG: a line per curve, its interval as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for curve in curves:
        seeds = len(curve.values)
        line = axes.plot(curve.steps, curve.mean, marker="o", markersize=3, label=f"{curve.label} (seeds: {seeds})")[0]
        half = curve.half_width
        if half is not None:
            axes.fill_between(curve.steps, curve.mean - half, curve.mean + half, color=line.get_color(), alpha=0.2)
    axes.set_xlabel("updates")
    axes.set_ylabel(metric)
    if metric.startswith("eval/"):
        axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(out, dpi=130)
