"""A demo as pictures for a page: the drive beside its goal as a small moving WebP, and the curve of its distance.

python -m mqe_bringup.picture runs/demo/TIME --out docs/assets

Writes demo.webp and steps_to_goal.png into the folder. The drive is shown at SPEED times its own pace, and its last
picture stays for a while before it begins anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mqe_bringup.report import Recording, read_recording, write_plot
from mqe_core.files.kinds import PICTURE
from mqe_core.files.outputs import check_file

SPEED = 2.0
MAX_BYTES = 2_000_000  # what a page may ask of a reader's line
_VIEW = (400, 300)  # pixels of each of the two pictures
_CAPTION_HEIGHT = 34
_PICTURES_PER_SECOND = 10.0  # of the moving picture, not of the drive
_FIRST_MS, _LAST_MS = 800, 2500  # how long the first and the last picture stay
_FONT = ImageFont.load_default(size=17)


def moving_picture(recording: Recording) -> tuple[list[Image.Image], list[int]]:
    """The pictures of the drive beside its goal, and how long each is shown, in ms."""
    times = np.array([t for t, _ in recording.frames])
    step_s = SPEED / _PICTURES_PER_SECOND
    wanted = np.arange(0.0, times[-1] + step_s, step_s)
    chosen = np.unique(np.searchsorted(times, np.minimum(wanted, times[-1])))
    goal = Image.fromarray(recording.goal).resize(_VIEW, Image.Resampling.LANCZOS)
    pictures = [_picture(recording, t, image, goal) for t, image in (recording.frames[k] for k in chosen)]
    shown_ms = [round(1000 / _PICTURES_PER_SECOND)] * len(pictures)
    shown_ms[0], shown_ms[-1] = _FIRST_MS, _LAST_MS
    return pictures, shown_ms


def _picture(recording: Recording, t: float, image: np.ndarray, goal: Image.Image) -> Image.Image:
    """Camera on the left, goal on the right, and below what the critic says at that moment."""
    width, height = _VIEW
    canvas = Image.new("RGB", (2 * width, height + _CAPTION_HEIGHT), (24, 24, 28))
    canvas.paste(Image.fromarray(image).resize(_VIEW, Image.Resampling.LANCZOS), (0, 0))
    canvas.paste(goal, (width, 0))
    k = int(np.searchsorted(recording.command_times, t, side="right")) - 1
    distance = recording.steps_to_goal[k] if k >= 0 else np.nan
    said = f"{t:4.1f} s" + ("" if np.isnan(distance) else f"    {distance:.0f} steps to the goal")
    draw = ImageDraw.Draw(canvas)
    draw.text((10, height + 7), said, font=_FONT, fill=(235, 235, 235))
    draw.text((width + 10, height + 7), "goal image", font=_FONT, fill=(235, 235, 235))
    return canvas


def write_pictures(run: Path, out: Path) -> list[Path]:
    """Write both pictures of the demo in `run`. ValueError where the moving one is larger than a page should carry."""
    moving, curve = out / "demo.webp", out / "steps_to_goal.png"
    for path in (moving, curve):
        check_file(path, PICTURE, apart=True)
    recording = read_recording(run / "bag")
    out.mkdir(parents=True, exist_ok=True)
    pictures, shown_ms = moving_picture(recording)
    pictures[0].save(moving, save_all=True, append_images=pictures[1:], duration=shown_ms, loop=0, quality=70, method=6)
    write_plot(recording, curve)
    if moving.stat().st_size > MAX_BYTES:
        raise ValueError(f"{moving} has {moving.stat().st_size} bytes, more than {MAX_BYTES}: the drive is too long")
    return [moving, curve]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mqe_bringup.picture", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a demo, runs/demo/TIME")
    parser.add_argument("--out", type=Path, required=True, help="folder for the two pictures")
    args = parser.parse_args()
    try:
        for path in write_pictures(args.run, args.out):
            sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"picture: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
