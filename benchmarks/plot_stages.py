"""Draws docs/assets/success_over_stages.svg: python benchmarks/plot_stages.py

How many objects a policy places, of one to four. The figures are those of docs/results.md and docs/history.md, copied
into benchmarks/success_over_stages.csv: mean score and its 95 % interval over the scenes of place1 to place4.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from mqe_core.files.kinds import PICTURE
from mqe_core.files.outputs import check_file

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks" / "success_over_stages.csv"
# Colours that are told apart by those who do not see all of them; the line's style says the same again.
STYLES = {
    "shipped policy": ("#0072B2", "o-", 2.4),
    "the 64-pixel policy": ("#56B4E9", "s--", 1.6),
    "TRA": ("#009E73", "^:", 1.4),
    "GCIQL": ("#E69F00", "v:", 1.4),
    "GCBC": ("#D55E00", "D:", 1.4),
}


def read_figures(path: Path = FIGURES) -> dict[str, list[dict[str, str]]]:
    """The rows of each series, as the texts that stand in the file."""
    series: dict[str, list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            series.setdefault(row["series"], []).append(row)
    return series


def draw(out: Path) -> None:
    """Write the picture to `out` (.svg or .png)."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "mqe"  # the same figures give the same bytes
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    axes.plot([1, 4], [1, 4], color="0.75", linewidth=1.2)
    axes.annotate("all of them", (3.0, 3.08), color="0.5", rotation=31, ha="center", va="bottom", fontsize=9)
    for number, (name, rows) in enumerate(read_figures().items()):
        colour, style, width = STYLES[name]
        shift = 0.035 * (number - 2)  # intervals side by side
        stages = [int(row["stages"]) + shift for row in rows]
        value, low, high = ([float(row[key]) for row in rows] for key in ("value", "low", "high"))
        below, above = ([abs(v - b) for v, b in zip(value, bound)] for bound in (low, high))
        axes.errorbar(
            stages,
            value,
            yerr=[below, above],
            fmt=style,
            color=colour,
            linewidth=width,
            markersize=5,
            elinewidth=1.0,
            capsize=2,
            label=name,
        )
    axes.set_xticks([1, 2, 3, 4], [f"place{n}" for n in (1, 2, 3, 4)])
    axes.set_xlim(0.8, 4.2)
    axes.set_ylim(0, 4.15)
    axes.set_xlabel("task: so many objects to place, one after the other")
    axes.set_ylabel("objects placed (mean, 95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")
    check_file(out, PICTURE, apart=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150, metadata={"Date": None} if out.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "assets" / "success_over_stages.svg")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
