"""Curves over seeds and the distance over a maze, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mqe_core.cli import main
from mqe_core.learning.run.curves import curves_of_runs
from mqe_core.ogbench import distance_plot
from mqe_core.ogbench.mazes import Maze

NAME = "pointmaze-medium-stitch-v0"


def make_run(data: Path, out: Path, seed: int, *keys: str) -> Path:
    sets = ("hidden_dims=[16]", "latent_dim=16", "batch_size=8", "threads=1", "device=cpu", "log_every=2", *keys)
    words = [word for pair in sets for word in ("--set", pair)]
    command = ["train", "--env", NAME, "--dataset", str(data), "--out", str(out), "--steps", "4", "--seed", str(seed)]
    assert main([*command, *words]) == 0
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    from tests.ogbench.ogbench_files import make_arrays

    folder = tmp_path_factory.mktemp("plots")
    np.savez(folder / f"{NAME}.npz", **make_arrays((6, 9, 5, 12)))
    made = [make_run(folder, folder / f"run{seed}", seed) for seed in (0, 1, 2)]
    return [*made, make_run(folder, folder / "other", 0, "alpha=0.5")]


def test_seeds_are_one_curve_with_an_interval(runs: list[Path]) -> None:
    curves = curves_of_runs(runs, "loss")
    assert [curve.label for curve in curves] == ["mqe, alpha=0.03", "mqe, alpha=0.5"]
    values = np.array(
        [[float(line.split(",")[-1]) for line in (run / "metrics.csv").read_text().split()[1:]] for run in runs]
    )
    np.testing.assert_allclose(curves[0].mean, values[:3].mean(0))
    # Student's t of two degrees of freedom.
    np.testing.assert_allclose(curves[0].half_width, 4.303 * values[:3].std(0, ddof=1) / np.sqrt(3))
    assert curves[1].half_width is None and curves[0].steps.tolist() == [2, 4]


def test_curves_are_drawn(runs: list[Path], tmp_path: Path) -> None:
    assert main(["plot", *map(str, runs), "--metric", "loss", "--out", str(tmp_path / "a.png")]) == 0
    assert Image.open(tmp_path / "a.png").size[0] > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--metric", "los"], "no column 'los'; near ones: loss"),
        (["RUN"], "no column 'eval/success'"),
        ([], "give run folders"),
        (["RUN", "--distance", "RUN"], "give run folders"),
        (["nothing"], "not a run folder"),
        (["--distance", "RUN", "--goal", "1"], "--goal expects ROW,COLUMN"),
        (["--distance", "RUN", "--goal", "0,0"], "is no free cell"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    if "0,0" in arguments:
        pytest.importorskip("ogbench")
    words = [str(runs[0]) if word == "RUN" else word for word in arguments]
    assert main(["plot", *words, "--out", str(tmp_path / "a.png")]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "a.png").exists()


def test_a_distance_is_drawn_over_the_maze(runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("ogbench")
    assert main(["plot", "--distance", str(runs[0]), "--goal", "1,5", "--out", str(tmp_path / "a.png")]) == 0
    assert Image.open(tmp_path / "a.png").size[0] > 600


def test_the_field_lies_where_its_points_are() -> None:
    maze = Maze.of_text("#### #..# ####")
    points, field = distance_plot._points(maze), distance_plot._true(maze, (1, 1)).reshape(-1)
    steps = {cell: maze.steps_to((1, 1))[cell] * maze.unit / 0.2 for cell in maze.cells}
    for point, value in zip(points, field):
        cell = maze.cell_at(point)
        assert np.isnan(value) if cell not in steps else value == steps[cell]
