"""The tables of docs/results-ogbench.md and its figure, from the rows of benchmarks/ogbench_results.csv.

    python -m benchmarks.ogbench_table

Replaces what stands between the page's two marks, and draws docs/assets/ogbench_curves.png. An agent has a line of the
first checkpoint that all of its seeds have, where agents can be compared that were trained for longer and for less, one
of the last such, and one of the furthest that some have.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.ogbench_plan import ABLATIONS, VARIANTS
from benchmarks.ogbench_runs import RESULTS, ROOT, rows

PAGE = ROOT / "docs" / "results-ogbench.md"
FIGURE = ROOT / "docs" / "assets" / "ogbench_curves.png"
BEGIN, END = "<!-- from here: python -m benchmarks.ogbench_table -->", "<!-- to here -->"
# Success in %: the MQE paper's table 4 (standard error over seeds), and OGBench's own (standard deviation).
PUBLISHED: dict[tuple[str, str], tuple[str, str]] = {
    **{
        ("pointmaze-giant-stitch-v0", name): cells
        for name, cells in {
            "mqe": ("59.2 ± 3.2", ""),
            "tmd": ("9.1 ± 1.0", ""),
            "cmd": ("8.1 ± 0.6", ""),
            "crl": ("0.0", "0"),
            "qrl": ("49.7 ± 2.3", "50 ± 8"),
            "gciql": ("0.0", "0"),
            "hiql": ("0.0", "0"),
            "nsacbc": ("0.4 ± 0.1", ""),
            "gcbc": ("", "0"),
            "gcivl": ("", "0"),
        }.items()
    },
    **{
        ("pointmaze-giant-navigate-v0", name): cells
        for name, cells in {
            "mqe": ("72.8 ± 2.5", ""),
            "qrl": ("68.5 ± 2.8", "68 ± 7"),
            "gciql": ("0.0", "0"),
            "hiql": ("45.9 ± 3.0", "46 ± 9"),
        }.items()
    },
    **{
        ("scene-play-v0", name): cells
        for name, cells in {
            "mqe": ("76.8 ± 2.1", ""),
            "qrl": ("5.4 ± 0.3", "5 ± 1"),
            "gciql": ("51.3 ± 1.5", "51 ± 4"),
            "hiql": ("38.2 ± 0.9", "38 ± 3"),
        }.items()
    },
}
FIGURES = ("rank_correlation", "critic_cosine", "actor_cosine")
Row = dict[str, str]


def main() -> int:
    found = rows(RESULTS)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{tables(found)}\n{END}{after}", encoding="utf-8")
    draw(found, FIGURE)
    print(f"{PAGE.relative_to(ROOT)}, {FIGURE.relative_to(ROOT)}: {len(found)} rows")
    return 0


def tables(found: list[Row]) -> str:
    """Markdown: a table per budget and data set, in the order of the rows."""
    if not found:
        return "No run has been measured yet.\n"
    parts = []
    for budget, dataset in dict.fromkeys((row["budget"], row["dataset"]) for row in found):
        here = [row for row in found if (row["budget"], row["dataset"]) == (budget, dataset)]
        machines = ", ".join(dict.fromkeys(row["machine"] for row in here))
        commits = ", ".join(dict.fromkeys(row["commit"] for row in here))
        said = textwrap.fill(f"Budget: {budget}; machine: {machines}; commits: {commits}.", 120)
        parts += [
            f"### {dataset}\n{said}\n",
            "| agent | seeds | updates | success, % | rank correlation | critic's cosine | actor's cosine | MQE paper "
            "| OGBench |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        variants = [name for name in (*VARIANTS, *ABLATIONS) if any(row["variant"] == name for row in here)]
        for name in variants:
            parts += _lines(dataset, name, [row for row in here if row["variant"] == name])
        parts.append("")
    return "\n".join(parts)


def _lines(dataset: str, variant: str, here: list[Row]) -> list[str]:
    steps = [{int(row["step"]) for row in here if row["seed"] == seed} for seed in {row["seed"] for row in here}]
    shared, furthest = set.intersection(*steps), max(set.union(*steps))
    shown = {min(shared, default=furthest), max(shared, default=furthest), furthest}
    return [_line(dataset, variant, step, here) for step in sorted(shown)]


def _line(dataset: str, variant: str, step: int, here: list[Row]) -> str:
    final = [row for row in here if int(row["step"]) == step]
    cells = [
        variant,
        str(len(final)),
        f"{step:,}",
        mean_and_error([100.0 * float(row["success"]) for row in final], digits=1),
        *(mean_and_error([float(row[name]) for row in final if row[name]], digits=2) for name in FIGURES),
        *(cell or "–" for cell in PUBLISHED.get((dataset, variant), ("", ""))),
    ]
    return f"| {' | '.join(cells)} |"


def mean_and_error(values: list[float], digits: int) -> str:
    """The mean, and with two values or more its standard error; a dash where there is nothing."""
    if not values:
        return "–"
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"


def draw(found: list[Row], out: Path) -> None:
    """Success, rank correlation and the actor's cosine over updates: a row of panels per data set with more than one
    checkpoint, means over seeds.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = {"success": "success", "rank_correlation": "rank correlation", "actor_cosine": "actor's cosine"}
    steps_of: dict[str, set[str]] = defaultdict(set)
    for row in found:
        steps_of[row["dataset"]].add(row["step"])
    datasets = [dataset for dataset, steps in steps_of.items() if len(steps) > 1]
    if not datasets:
        return
    there = {row["variant"] for row in found if row["dataset"] in datasets}
    variants = [name for name in (*VARIANTS, *ABLATIONS) if name in there]
    palette = [*colormaps["tab20"].colors, *colormaps["tab20b"].colors]
    colours = dict(zip(variants, palette))  # one each in all panels, also where some have no point
    figure = Figure(figsize=(12.0, 3.6 * len(datasets)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(datasets), len(shown), squeeze=False)
    named = {}  # variant -> what the legend shows of it
    for line, dataset in zip(panels, datasets):
        for axes, (column, name) in zip(line, shown.items()):
            for variant in variants:
                points: dict[int, list[float]] = defaultdict(list)
                for row in found:
                    if (row["dataset"], row["variant"]) == (dataset, variant) and row[column]:
                        points[int(row["step"])].append(float(row[column]))
                if points:
                    steps = sorted(points)
                    means = [np.mean(points[step]) for step in steps]
                    (named[variant],) = axes.plot(steps, means, marker="o", color=colours.get(variant, "black"))
            axes.set_title(f"{dataset}: {name}", fontsize=9)
            axes.set_xlabel("updates")
            axes.set_xlim(left=0)
            axes.set_ylim(-0.05 if column != "actor_cosine" else -0.25, 1.05)
            axes.grid(alpha=0.3)
    figure.legend(named.values(), named, loc="outside right upper", fontsize=8)  # beside the panels, over no point
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
