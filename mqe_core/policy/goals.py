"""Goal files: a PNG that shows where to get to, and a YAML beside it that says what the picture is."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mqe_core import images
from mqe_core.files.bounded import require_bounded, shortened, shown
from mqe_core.files.disk import writing
from mqe_core.files.text import read_yaml
from mqe_core.policy.domain import DOMAINS, SIM
from mqe_core.robot.arrays import Images

_REQUIRED = ("camera", "resize_rule", "domain", "capture_pose")
_OF_THE_SIM = ("task", "seed")
_KNOWN_BYTES = 300  # of a list in a message
_NAME_LETTERS = 100  # at most: file systems take 255 bytes, with the ending and what is added while it is written
_MEANING_BYTES = 4096  # ours have 200; a node reads it beside its commands, and YAML takes Python a second for 64 kB


@dataclass(frozen=True, eq=False)
class Goal:
    """A goal image with its meaning.

    Attributes:
        path: the PNG.
        image: (H, W, 3) uint8 RGB.
        camera: name of the camera that took it.
        domain: what it shows, `sim` or `real`.
        capture_pose: (7,) Bridge state of the arm in the picture: x, y, z in m, roll, pitch, yaw in rad, gripper
            (1 = open).
        task, seed: of a simulated scene, so that it can be laid out again; None for a real one.
    """

    path: Path
    image: Images
    camera: str
    domain: str
    capture_pose: tuple[float, ...]
    task: str | None
    seed: int | None

    @property
    def name(self) -> str:
        """The file's name without its ending; what an operator calls the goal."""
        return self.path.stem


def read_goal(path: str | Path) -> Goal:
    """Read the PNG at `path` and its YAML.

    ValueError or FileNotFoundError, with the remedy, where something is missing or wrong.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such goal image")
    require_bounded(path, images.FRAME_BYTES)
    meaning_path = path.with_suffix(".yaml")
    if not meaning_path.exists():
        raise FileNotFoundError(
            f"{meaning_path}: a goal image needs a YAML beside it with the keys {', '.join(_REQUIRED)} "
            f"(in the sim also {', '.join(_OF_THE_SIM)}); mqe goal add {path} --name {_as_name(path.stem)} makes both"
        )
    return _goal(path, images.read(path, images.FRAME_PIXELS), read_yaml(meaning_path, _MEANING_BYTES))


def write_goal(
    path: Path,
    image: Images,
    *,
    camera: str,
    domain: str,
    capture_pose: Sequence[float],
    task: str | None = None,
    seed: int | None = None,
) -> Goal:
    """Write `path` (.png) and the YAML beside it; task and seed for a simulated scene.

    ValueError, and nothing written, for what could not be read again.
    """
    if path.suffix != ".png":
        raise ValueError(f"{path}: a goal image is a .png")
    images.require_few_pixels(image.shape[1], image.shape[0], images.FRAME_PIXELS)
    meaning = {
        "camera": camera,
        "resize_rule": images.RESIZE_RULE,
        "domain": domain,
        "capture_pose": [float(value) for value in capture_pose],
        **({} if task is None else {"task": task, "seed": seed}),
    }
    png = images.encode_png(image)
    goal = _goal(path, image, meaning)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_both(path, png, yaml.safe_dump(meaning, sort_keys=False).encode())
    return goal


def _as_name(text: str) -> str:
    """The text as a goal's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:_NAME_LETTERS] or "goal"


def check_name(name: str) -> None:
    """ValueError where a goal may not be called `name`: it becomes a file's name in the user's folder."""
    if re.fullmatch(rf"[A-Za-z0-9_-]{{1,{_NAME_LETTERS}}}", name) is None:
        raise ValueError(
            f"a goal's name is made of letters (a to z), digits, - and _, at most {_NAME_LETTERS}, got "
            f"{shown(name)}; its folder is given with --out DIR"
        )


def require_picture(image: Images, what: str) -> None:
    """ValueError where the image `what` shows nothing that an arm could be driven to."""
    if (even := images.why_no_picture(image)) is not None:
        raise ValueError(f"{what} shows no goal: {even}")


def check_camera(goal: Goal, camera: str) -> None:
    """ValueError, with the remedy, where another camera took the goal than `camera`, through which the policy sees."""
    if goal.camera != camera:
        raise ValueError(
            f"the goal {goal.path} was taken by the camera {goal.camera!r}, the robot's is {camera!r}; the policy "
            "would compare two views: take it again (mqe goal capture)"
        )


def find_goal(name: str, folders: Sequence[Path]) -> Path:
    """A path as it is, else the first folder's file of that name (with or without .png).

    FileNotFoundError says where it looked; ValueError where the name cannot be one, or is of something else than a
    file.
    """
    try:
        given = Path(name).expanduser()
        if given.is_file() or ("/" in name and given.exists()):  # what is no file is refused where it is read
            return given.resolve()
        file = name if name.endswith(".png") else f"{name}.png"
        for folder in folders:
            if (folder / file).is_file():
                return folder / file
    except (RuntimeError, OSError) as error:  # ~ of somebody unknown; a name that no file can have
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"no goal {shown(name)}: {why}") from error
    places = ", ".join(map(str, folders))
    known = sorted({path.name for folder in folders if folder.is_dir() for path in folder.glob("*.png")})
    raise FileNotFoundError(
        f"no goal {shown(name)}: not a file, and not in {places}; known goals: "
        f"{shortened(', '.join(known), _KNOWN_BYTES) or 'none'}"
    )


def _goal(path: Path, image: Images, meaning: object) -> Goal:
    """The goal of this image and what its YAML holds; ValueError where one of them is wrong."""
    file = path.with_suffix(".yaml")
    if not isinstance(meaning, dict):
        raise ValueError(f"{file}: expected a mapping of keys, got {type(meaning).__name__}")
    needed = _REQUIRED + (_OF_THE_SIM if meaning.get("domain") == SIM else ())
    missing, unknown = [key for key in needed if key not in meaning], [str(key) for key in meaning if key not in needed]
    if missing or unknown:
        domain = f" of the domain {shortened(str(meaning['domain']), _KNOWN_BYTES)}" if "domain" in meaning else ""
        faults = (("misses", missing), ("has the unknown", unknown))
        wrong = [f"{what} {shortened(', '.join(keys), _KNOWN_BYTES)}" for what, keys in faults if keys]
        raise ValueError(f"{file}: a goal{domain} has the keys {', '.join(needed)}; this one {' and '.join(wrong)}")

    def require(ok: bool, key: str, expected: str) -> None:
        if not ok:
            raise ValueError(f"{file}: {key}: expected {expected}, got {shown(meaning[key])}")

    require(meaning["domain"] in DOMAINS, "domain", " or ".join(DOMAINS))
    require(meaning["resize_rule"] == images.RESIZE_RULE, "resize_rule", images.RESIZE_RULE)
    require(isinstance(meaning["camera"], str) and meaning["camera"] != "", "camera", "a camera's name")
    pose = meaning["capture_pose"]
    require(
        isinstance(pose, list) and len(pose) == 7 and all(_is_finite(v) for v in pose),
        "capture_pose",
        "7 numbers",
    )
    if meaning["domain"] == SIM:
        require(isinstance(meaning["task"], str) and meaning["task"] != "", "task", "a task's name")
        require(type(meaning["seed"]) is int and 0 <= meaning["seed"] < 2**63, "seed", "a whole number from 0")
    require_picture(image, str(path))
    return Goal(
        path,
        image,
        meaning["camera"],
        meaning["domain"],
        tuple(map(float, pose)),
        meaning.get("task"),
        meaning.get("seed"),
    )


def _write_both(path: Path, png: bytes, meaning: bytes) -> None:
    """Both files or none; a crash may leave none, never one goal's picture with another one's meaning."""
    places = {path.with_suffix(".yaml"): meaning, path: png}  # in this order: without its PNG there is no goal
    new = [place.with_name(f".{place.name}.partial-{os.getpid()}") for place in places]
    try:
        for file, content in zip(new, places.values()):
            file.write_bytes(content)
        path.unlink(missing_ok=True)
        for file, place in zip(new, places):
            file.replace(place)
    finally:
        for file in new:
            file.unlink(missing_ok=True)


def _is_finite(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False
