"""What a person looks at after an evaluation, as files in a folder.

result.json         the summary that `mqe eval --json` prints
episodes.csv        one row per episode
steps_to_goal.csv   one row per control step of every episode, where the policy says how far the goal is
steps_to_goal.png   the same over time, successes and failures apart
rollouts.mp4        the first episodes side by side, each beside its goal image, at twice the robot's speed
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mqe_core.closed_loop.evaluate import Evaluation, Film
from mqe_core.closed_loop.film import write_film
from mqe_core.closed_loop.results import RESULT_FILE
from mqe_core.files.disk import write_atomically, writing
from mqe_core.images import decode
from mqe_core.robot.arrays import Images

FILMS = 16  # episodes in rollouts.mp4
_FILES = (RESULT_FILE, "episodes.csv", "steps_to_goal.csv", "steps_to_goal.png", "rollouts.mp4")
_COLUMNS = 4
_SPEED = 2  # times the robot's
_LINE_PX, _GREEN, _RED = 3, (40, 160, 60), (200, 50, 40)  # drawn around an episode once it is over


def write_report(evaluation: Evaluation, folder: Path, control_hz: float) -> list[Path]:
    """Write the files that this evaluation has something for, in place of an earlier one's; returns their paths.

    WriteError where the disk does not take them.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        return _write_files(evaluation, folder, control_hz)


def _write_files(evaluation: Evaluation, folder: Path, control_hz: float) -> list[Path]:
    summary = folder / RESULT_FILE
    write_atomically(summary, (json.dumps(evaluation.summary(), indent=1) + "\n").encode())
    written = [summary, write_episodes(evaluation, folder / "episodes.csv")]
    if any(np.isfinite(outcome.steps_to_goal).any() for outcome in evaluation.outcomes):
        written += [
            write_steps(evaluation, folder / "steps_to_goal.csv"),
            draw_steps(evaluation, folder / "steps_to_goal.png"),
        ]
    if evaluation.films:
        successes = [outcome.success for outcome in evaluation.outcomes]
        written.append(write_video(evaluation.films, successes, folder / "rollouts.mp4", _SPEED * control_hz))
    return written


def write_episodes(evaluation: Evaluation, path: Path) -> Path:
    """One row per episode: scene, score, success, steps, last steps_to_goal, and how often each rule of the safety
    filter acted.
    """
    title = evaluation.settings.title
    rules = sorted({rule for outcome in evaluation.outcomes for rule in outcome.rules})
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["task", "scene_seed", "score", "max_score", "success", "steps", "last_steps_to_goal", *rules])
        for o in evaluation.outcomes:
            last = "" if o.last_steps_to_goal is None else f"{o.last_steps_to_goal:.2f}"
            counts = [o.rules.get(rule, 0) for rule in rules]
            table.writerow([title, o.scene_seed, o.score, evaluation.max_score, int(o.success), o.steps, last, *counts])
    return path


def write_steps(evaluation: Evaluation, path: Path) -> Path:
    """One row per control step: scene, step, steps_to_goal."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["scene_seed", "step", "steps_to_goal"])
        for outcome in evaluation.outcomes:
            table.writerows(
                [outcome.scene_seed, step, f"{value:.2f}"] for step, value in enumerate(outcome.steps_to_goal)
            )
    return path


def draw_steps(evaluation: Evaluation, path: Path) -> Path:
    """Every episode's steps_to_goal over time as a thin line and the median as a thick one, successes beside
    failures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, success, title, colour in zip(axes, (True, False), ("solved", "not solved"), ("tab:green", "tab:red")):
        lines = [outcome.steps_to_goal for outcome in evaluation.outcomes if outcome.success is success]
        for line in lines:
            axis.plot(line, color=colour, alpha=0.25, linewidth=0.8)
        if lines:
            table = np.full((len(lines), max(map(len, lines))), np.nan)
            for row, line in zip(table, lines):
                row[: len(line)] = line
            axis.plot(np.nanmedian(table, axis=0), color=colour, linewidth=2.5)
        axis.set(title=f"{evaluation.settings.title}: {len(lines)} {title}", xlabel="control step")
    axes[0].set_ylabel("steps_to_goal")
    axes[0].set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
    return path


def write_video(films: tuple[Film, ...], successes: list[bool], path: Path, fps: float) -> Path:
    """H.264 grid of episodes, frame beside goal; one that is over keeps its last frame, in a green or a red border.

    WriteError, leaving none, where the disk does not take it.
    """
    height, width = decode(films[0].goal).shape[:2]
    columns = min(_COLUMNS, len(films))
    rows = -(-len(films) // columns)
    # yuv420 wants even sizes.
    canvas = np.zeros((rows * height + rows * height % 2, columns * 2 * width, 3), np.uint8)
    frames = _grid(films, successes, canvas, columns)
    return write_film(path, frames, canvas.shape[1], canvas.shape[0], fps, macro_block_size=2, quality=7)


def _grid(films: tuple[Film, ...], successes: list[bool], canvas: Images, columns: int) -> Iterator[Images]:
    """The canvas (H, W, 3) after each step."""
    goals = [decode(film.goal) for film in films]
    height, width = goals[0].shape[:2]
    # One step more than the longest episode, so that its border is seen too.
    for step in range(max(len(film.frames) for film in films) + 1):
        for index, (film, goal) in enumerate(zip(films, goals)):
            if step > len(film.frames):
                continue
            y, x = index // columns * height, index % columns * 2 * width
            tile = np.hstack([decode(film.frames[min(step, len(film.frames) - 1)]), goal])
            if step == len(film.frames):
                edge = np.ones(tile.shape[:2], bool)
                edge[_LINE_PX:-_LINE_PX, _LINE_PX:-_LINE_PX] = False
                tile[edge] = _GREEN if successes[index] else _RED
            canvas[y : y + height, x : x + 2 * width] = tile
        yield canvas
