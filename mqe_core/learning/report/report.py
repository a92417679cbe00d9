"""`mqe report`: one page about a run. Figures, curves and pictures; it fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.files import web_page as html
from mqe_core.files.disk import write_atomically
from mqe_core.files.kinds import PAGE
from mqe_core.files.outputs import check_file
from mqe_core.files.svg import COLOURS, Line, arrows, chart
from mqe_core.images import encode_jpeg, resize
from mqe_core.learning.export.export_data import open_data, open_held_out
from mqe_core.learning.report import measure
from mqe_core.learning.report.measure import Answers, Judge, Retrieval
from mqe_core.learning.rows.held_out import held_out_episodes
from mqe_core.learning.run.run_folder import load_run
from mqe_core.robot.arrays import Ints

PAGE_FILE = "report.html"  # in the run folder, where no other place is asked for
_LINES, _EXAMPLES, _SHOWN, _SAMPLES = 4, 3, 4, 8
_PICTURE_PX = 96
_GOALS = "Nearest and farthest goals"
_ARROW_M = 0.05  # reaches the edge of its square
_DATA, _POLICY = COLOURS[2], COLOURS[1]


def write_report(
    run: Path,
    out: Path | None = None,
    *,
    checkpoint: str = "latest",
    data: Path | None = None,
    held_out: Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Write the page to `out`, by default into the run folder; returns its path and its figures.

    Args:
        checkpoint: "latest" or the name of a kept one.
        data: the store it was trained on, where it has moved.
        held_out: a store of episodes that no training saw, in place of those that the run held out.

    ValueError where `run` is no run folder of an arm's data, its data is gone or another, or it holds nothing out.
    """
    page = run / PAGE_FILE if out is None else out
    check_file(page, PAGE, apart=page.parent.resolve() != run.resolve())
    agent, config, metadata = load_run(run, checkpoint)
    store, episodes = _held_out(run, config.train.validation_fraction, config.train.seed, metadata, data, held_out)
    rng = np.random.default_rng(0)
    judge = Judge(agent, metadata, store)
    found = measure.answers(judge, episodes)
    retrieved = None if found.steps is None else measure.retrieval(judge, found, rng)
    figures = {
        "run": str(run),
        "agent": metadata["agent"],
        "step": metadata["step"],
        "data": {"path": str(store.path), "fingerprint": store.fingerprint},
        **measure.figures(found, retrieved, rng),
    }
    write_atomically(page, html.page(f"Report of {run.name}", _sections(judge, found, retrieved, figures), figures))
    return page, figures


def _held_out(
    run: Path, fraction: float, seed: int, metadata: dict[str, Any], data: Path | None, held_out: Path | None
) -> tuple[EpisodeStore, Ints]:
    """The store to measure on, and the numbers of its episodes that training did not see."""
    if data is not None and held_out is not None:
        raise ValueError("--data and --held-out both say what to measure on: leave out one")
    if held_out is not None:
        store = open_held_out(metadata, held_out)
        return store, np.arange(store.num_episodes)
    if len(metadata["action_low"]) != len(measure.ACTION_NAMES) or "domain" not in metadata["data"]["metadata"]:
        raise ValueError(f"{run} was trained on {metadata['data']['path']}, which is no EpisodeStore of an arm")
    opened = open_data(metadata, data)
    if opened is None:
        raise ValueError(f"the data of {run} is gone from {metadata['data']['path']}: say where it is with --data")
    episodes = held_out_episodes(opened, fraction, seed)
    if not len(episodes):
        raise ValueError(
            f"{run} holds out no episodes, and those it learned from say nothing: train with validation_fraction, or "
            "give others as --held-out"
        )
    return opened, episodes


def _sections(judge: Judge, found: Answers, retrieved: Retrieval | None, figures: dict[str, Any]) -> list[str]:
    parts = [
        html.paragraph(
            f"Agent {figures['agent']} after {figures['step']} updates, on {figures['frames']} frames of "
            f"{figures['episodes']} episodes that training did not see ({figures['data']['path']}). The goal of a "
            "frame is the last frame of its episode. In brackets: 95 % of the mean, by bootstrap over episodes."
        ),
        _actions(figures),
    ]
    if found.steps is None:
        parts.append(html.section("Distance", html.paragraph("This agent has no critic: it knows no distance.")))
    else:
        parts.append(_distance(judge, found, figures))
        if retrieved is None:
            parts.append(
                html.section(_GOALS, html.paragraph("Of one held-out episode alone there are no other goals."))
            )
        else:
            parts.append(_retrieval(judge, retrieved, figures))
    return [*parts, _samples(judge, found)]


def _actions(figures: dict[str, Any]) -> str:
    rows = [
        (name, each["unit"], _with_interval(each, 2), f"{each['p90']:.2f}", f"{each['of_the_mean_action']:.2f}")
        for name, each in figures["action_error"].items()
    ]
    gripper = figures["gripper"]
    changes = "none" if gripper["accuracy_at_changes"] is None else f"{100 * gripper['accuracy_at_changes']:.1f} %"
    low, high = gripper["interval"]
    grip = [
        ("all frames", f"{100 * gripper['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"),
        ("always the commoner state", f"{100 * gripper['of_the_commoner']:.1f} %"),
        (f"where it opens or closes ({gripper['changes']} frames)", changes),
    ]
    return html.section(
        "Actions",
        html.paragraph(
            "Absolute difference between the policy's action and the demonstrator's. An answer that never looks, the "
            "mean action of these frames, would be off by what stands last."
        ),
        html.table(("action", "unit", "mean error", "90 % below", "of the mean action"), rows),
        html.table(("gripper", "right"), grip),
    )


def _distance(judge: Judge, found: Answers, figures: dict[str, Any]) -> str:
    assert found.steps is not None
    chosen = measure.longest(found, _LINES)
    last = {number: int(found.goals[found.episode == number][0]) for number in chosen}
    lines, steps_most = [], 1.0
    for place, number in enumerate(chosen):
        of_it = found.episode == number
        frames, remaining = found.frames[of_it], (found.goals - found.frames)[of_it]
        steps_most = max(steps_most, float(remaining.max()))
        lines.append(_line(f"episode {number}", remaining, found.steps[of_it], COLOURS[place]))
        if len(chosen) > 1:
            goal = last[chosen[(place + 1) % len(chosen)]]
            other = judge.steps(frames, np.full(len(frames), goal))
            lines.append(_line("", remaining, other, COLOURS[place], dashed=True))
    lines.append(Line("the truth", [(0.0, 0.0), (steps_most, steps_most)], "#999", 1.0))
    correlation = figures["rank_correlation"]
    said = (
        "Its episodes are too short for a rank correlation."
        if correlation is None
        else "Rank correlation (Spearman) of steps_to_goal and the steps that remain: "
        f"{_with_interval(correlation, 3)}, mean over {correlation['episodes']} episodes. 1 is a distance that always "
        "falls on the way, 0 one that says nothing."
    )
    return html.section(
        "Distance along trajectories",
        html.paragraph(said),
        chart(lines, "steps that remain", "steps_to_goal", width=620, height=340),
        html.paragraph(
            "Solid: to the episode's own goal. Dashed: to the goal of the next of these episodes, which is another one."
        ),
    )


def _line(label: str, remaining: Any, steps: Any, colour: str, dashed: bool = False) -> Line:
    points = [(float(x), float(y)) for x, y in zip(remaining, steps) if np.isfinite(y)]
    return Line(label, points, colour, 1.0 if dashed else 2.0, dashed)


def _retrieval(judge: Judge, retrieved: Retrieval, figures: dict[str, Any]) -> str:
    said = figures["retrieval"]
    rows = [
        ("the true goal is the nearest", f"{100 * said['first']:.0f} %", f"{100 / said['candidates']:.1f} %"),
        ("it is among the nearest 5", f"{100 * said['among_5']:.0f} %", f"{min(500 / said['candidates'], 100):.1f} %"),
        ("its median rank", f"{said['median_rank']:g}", f"{said['median_rank_by_chance']:g}"),
    ]
    parts = [
        html.paragraph(
            f"Of {said['queries']} frames the distance to {said['candidates']} goals: the own one, and frames of other "
            "held-out episodes. Some of those may be reachable as well."
        ),
        html.table((f"retrieval among {said['candidates']}", "critic", "by chance"), rows),
    ]
    for query in measure.evenly(len(retrieved.frames), _EXAMPLES):
        order = np.argsort(retrieved.steps[query], kind="stable")
        shown = [("nearest", order[:_SHOWN]), ("farthest", order[_SHOWN:][-_SHOWN:])]
        tiles = [_tile(judge, int(retrieved.frames[query]), "observation")]
        tiles.append(_tile(judge, int(retrieved.goals[query, 0]), f"own goal: {retrieved.steps[query, 0]:.1f}", True))
        for name, places in shown:
            for place in places:
                caption = f"{name}: {retrieved.steps[query, place]:.1f}"
                tiles.append(_tile(judge, int(retrieved.goals[query, place]), caption, bool(place == 0)))
        parts.append(html.row(*tiles))
    return html.section(_GOALS, *parts)


def _samples(judge: Judge, found: Answers) -> str:
    parts = []
    for place in measure.evenly(len(found.frames), _SAMPLES):
        ways = [(float(a[0]), float(a[1]), float(a[2])) for a in (found.data[place], found.policy[place])]
        grip = ["open" if a[6] > measure.OPEN else "close" for a in (found.data[place], found.policy[place])]
        caption = f"gripper: {grip[0]}, policy: {grip[1]}"
        glyph = f"<figure>{arrows(ways, (_DATA, _POLICY), _ARROW_M, _PICTURE_PX)}{html.text(caption)}</figure>"
        frame = int(found.frames[place])
        number = int(found.episode[place])
        name = f"episode {number}, frame {frame - int(judge.store.episode_starts[number])}"
        parts.append(html.row(_tile(judge, frame, name), _tile(judge, int(found.goals[place]), "its goal"), glyph))
    return html.section(
        "Samples with their actions",
        html.paragraph(
            "Seen from above, forward at the top, left at the left, in the base's frame; beside it the way up or down. "
            f"Green: the demonstrator. Orange: the policy. The edge is {1000 * _ARROW_M:g} mm away."
        ),
        html.row(*parts),
    )


def _tile(judge: Judge, frame: int, caption: str, marked: bool = False) -> str:
    if not (judge.camera in judge.store.cameras and judge.store.has_image(judge.camera)[frame]):
        return f"<figure>{html.text(caption)} (no picture)</figure>"  # a run on states
    (pixels,) = judge.store.images(np.array([frame]), judge.camera)
    return html.picture(encode_jpeg(resize(pixels, _PICTURE_PX, _PICTURE_PX), 90), caption, marked)


def _with_interval(each: dict[str, Any], digits: int) -> str:
    low, high = each["interval"]
    return f"{each['mean']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
