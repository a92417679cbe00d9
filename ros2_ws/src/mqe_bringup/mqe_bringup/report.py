"""The demo's report, made from its bag: a video beside the goal, the distance over time, and the figures."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rosbags.rosbag2 import Reader

from mqe_core.closed_loop.film import write_film
from mqe_ros import convert, topics
from mqe_ros.record_node import own_typestore

# Pixels of each of the two pictures, and of the line below them.
_VIEW_WIDTH, _VIEW_HEIGHT, _CAPTION_HEIGHT = 480, 360, 28


@dataclass(frozen=True)
class Recording:
    """What the report needs of a bag. Times are seconds from the first command, by the messages' stamps."""

    frames: list[tuple[float, np.ndarray]]  # time, (H, W, 3) uint8 RGB
    goal: np.ndarray
    command_times: np.ndarray  # (n,) s
    steps_to_goal: np.ndarray  # (n,) control steps, NaN without a critic
    grippers: np.ndarray  # (n,) 1 = open
    latencies_ms: np.ndarray  # (n,) image taken to command published
    deadline_misses: int
    rules: Counter[str]  # limits that clipped or refused


def read_recording(folder: Path) -> Recording:
    """Read the bag in `folder`. RuntimeError where it holds no command: then nothing was driven."""
    types = own_typestore()
    frames: list[tuple[float, np.ndarray]] = []
    goals: list[np.ndarray] = []
    commands: list[tuple[float, Any]] = []  # time, message
    misses, rules = 0, Counter[str]()
    with Reader(folder) as reader:
        for connection, _, raw in reader.messages():
            topic = connection.topic
            if topic not in (
                topics.IMAGE.name,
                topics.GOAL_IMAGE.name,
                topics.COMMAND.name,
                topics.POLICY_STATUS.name,
                topics.ARM_STATUS.name,
            ):
                continue
            message = types.deserialize_cdr(raw, connection.msgtype)
            if topic == topics.IMAGE.name:
                frames.append((_seconds(message.header.stamp), convert.image_to_array(message)))
            elif topic == topics.GOAL_IMAGE.name:
                goals.append(convert.image_to_array(message))
            elif topic == topics.COMMAND.name:
                commands.append((_seconds(message.header.stamp), message))
            elif topic == topics.POLICY_STATUS.name:
                misses = message.deadline_misses
            else:
                rules.update([*message.clipped, *([message.refused] if message.refused else [])])
    if not commands or not goals:
        raise RuntimeError(f"{folder} holds {len(commands)} commands and {len(goals)} goal images: nothing was driven")
    zero = commands[0][0]
    return Recording(
        frames=[(t - zero, image) for t, image in frames],
        goal=goals[-1],
        command_times=np.array([t - zero for t, _ in commands]),
        steps_to_goal=np.array([m.steps_to_goal for _, m in commands]),
        grippers=np.array([m.gripper for _, m in commands]),
        latencies_ms=np.array([1e3 * (_seconds(m.header.stamp) - _seconds(m.observation_stamp)) for _, m in commands]),
        deadline_misses=misses,
        rules=rules,
    )


def write_report(out: Path, banner: Sequence[str], outcome: dict) -> str:
    """Write video.mp4, steps_to_goal.png and report.html beside the bag in `out`; the summary line."""
    recording = read_recording(out / "bag")
    _write_video(recording, out / "video.mp4")
    write_plot(recording, out / "steps_to_goal.png")
    intervals = 1e3 * np.diff(recording.command_times)
    # The demo gives the policy the task's whole time and judges what stands at its end; a goal may also be reached or
    # given up earlier.
    ending = "the task's whole time" if outcome["outcome"] == "timeout" else outcome["outcome"]
    score = f"score {outcome['score']:g} of {outcome['max_score']:g}"
    figures = {
        "task and scene": f"{outcome['task']}, seed {outcome['seed']}",
        "result": f"{'success' if outcome['success'] else 'no success'}, {score}",
        "commands": f"{outcome['steps']} in {outcome['seconds']:.1f} s ({ending})",
        "interval between commands": _percentiles(intervals, "ms"),
        "image to command": _percentiles(recording.latencies_ms, "ms"),
        "deadline misses": str(recording.deadline_misses),
        "limits applied": ", ".join(f"{name} {count}" for name, count in recording.rules.most_common()) or "none",
    }
    _write_html(out / "report.html", figures, banner)
    drive = f"{outcome['steps']} commands in {outcome['seconds']:.1f} s"
    return f"demo: {figures['result']}; {drive}; report: {os.path.relpath(out / 'report.html')}"


def _seconds(stamp) -> float:
    return stamp.sec + 1e-9 * stamp.nanosec


def _percentiles(values: np.ndarray, unit: str) -> str:
    if len(values) == 0:
        return "too few"
    return f"p50 {np.percentile(values, 50):.1f}, p99 {np.percentile(values, 99):.1f} {unit}"


def _write_video(recording: Recording, path: Path) -> None:
    """Camera on the left, goal on the right, time and distance below, in the frames' own time."""
    shown = [(t, image) for t, image in recording.frames if t >= -1.0]
    times = np.array([t for t, _ in shown])
    fps = 1.0 / max(np.median(np.diff(times)), 1e-3) if len(times) > 1 else 1.0
    goal = _view(recording.goal)
    width, height = 2 * _VIEW_WIDTH, _VIEW_HEIGHT + _CAPTION_HEIGHT
    pictures = (_picture(recording, t, image, goal) for t, image in shown)
    write_film(path, pictures, width, height, round(fps, 2), codec="libx264", macro_block_size=4)


def _picture(recording: Recording, t: float, image: np.ndarray, goal: Image.Image) -> np.ndarray:
    """(H, W, 3) of the film, with its caption."""
    canvas = Image.new("RGB", (2 * _VIEW_WIDTH, _VIEW_HEIGHT + _CAPTION_HEIGHT))
    canvas.paste(_view(image), (0, 0))
    canvas.paste(goal, (_VIEW_WIDTH, 0))
    k = int(np.searchsorted(recording.command_times, t, side="right")) - 1
    distance = recording.steps_to_goal[k] if k >= 0 else np.nan
    said = f"{max(t, 0):5.1f} s" + ("" if np.isnan(distance) else f"   {distance:.1f} steps to the goal")
    draw = ImageDraw.Draw(canvas)
    draw.text((8, _VIEW_HEIGHT + 8), f"camera   {said}", fill=(255, 255, 255))
    draw.text((_VIEW_WIDTH + 8, _VIEW_HEIGHT + 8), "goal", fill=(255, 255, 255))
    return np.asarray(canvas)


def _view(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).resize((_VIEW_WIDTH, _VIEW_HEIGHT), Image.Resampling.BILINEAR)


def write_plot(recording: Recording, path: Path) -> None:
    """Draw the distance over time, with the stretches in which the gripper was closed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    axes.fill_between(
        recording.command_times,
        0,
        1,
        where=(recording.grippers < 0.5).tolist(),
        step="post",
        transform=axes.get_xaxis_transform(),
        alpha=0.15,
        label="gripper closed",
    )
    if np.isnan(recording.steps_to_goal).all():
        axes.text(0.5, 0.5, "this policy has no critic", transform=axes.transAxes, ha="center")
    axes.plot(recording.command_times, recording.steps_to_goal, marker=".", label="critic's distance")
    axes.set_xlabel("seconds since the first command")
    axes.set_ylabel("control steps to the goal")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _write_html(path: Path, figures: dict[str, str], banner: Sequence[str]) -> None:
    rows = "\n".join(
        f"<tr><th>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in figures.items()
    )
    lines = "\n".join(f"<li>{html.escape(line)}</li>" for line in banner)
    path.write_text(
        f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Demo report</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
video, img {{ max-width: 100% }} li {{ font-family: monospace }}
th {{ text-align: left; padding-right: 1.5rem; font-weight: 600 }}
</style>
<h1>Drive to a goal image</h1>
<table>
{rows}
</table>
<h2>Camera and goal</h2>
<video src="video.mp4" controls loop muted autoplay></video>
<h2>Distance to the goal</h2>
<img src="steps_to_goal.png" alt="control steps to the goal over time">
<h2>What ran</h2>
<ul>
{lines}
</ul>
<p>Every message stands in <a href="bag/">bag/</a> (MCAP: open it in Foxglove, or with <code>rosbags</code>);
the log of each process lies beside it.</p>
</html>
""",
        encoding="utf-8",
    )
