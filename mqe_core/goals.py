"""Goal files: a PNG that shows where to get to, and a YAML beside it that says what the picture is."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mqe_core import images

_REQUIRED = ("camera", "resize_rule", "domain", "capture_pose")
_SIM = ("task", "seed")


@dataclass(frozen=True, eq=False)
class Goal:
    """A goal image with its meaning.

    Attributes:
        path: the PNG.
        image: (H, W, 3) uint8 RGB.
        camera: name of the camera that took it.
        domain: what it shows, `sim` or `real`.
        capture_pose: (7,) Bridge state of the arm in the picture.
        task, seed: of a simulated scene, so that the same one can be set up; None for a real one.
    """

    path: Path
    image: np.ndarray
    camera: str
    domain: str
    capture_pose: tuple[float, ...]
    task: str | None
    seed: int | None

    @property
    def name(self) -> str:
        return self.path.stem


def read_goal(path: str | Path) -> Goal:
    """Read the PNG at `path` and its YAML.

    ValueError or FileNotFoundError, with the remedy, where something is missing or wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such goal image")
    meaning_path = path.with_suffix(".yaml")
    if not meaning_path.is_file():
        raise FileNotFoundError(
            f"{meaning_path}: a goal image needs a YAML beside it with the keys {', '.join(_REQUIRED)} "
            f"(in the sim also {', '.join(_SIM)})"
        )
    try:
        meaning = yaml.safe_load(meaning_path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{meaning_path}: not valid YAML: {error}") from error
    return _goal(path, images.read(path), meaning)


def write_goal(
    path: Path,
    image: np.ndarray,
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
    meaning = {
        "camera": camera,
        "resize_rule": images.RESIZE_RULE,
        "domain": domain,
        "capture_pose": [
            float(value) for value in capture_pose
        ],  # Bridge state: x, y, z in m, roll, pitch, yaw in rad, gripper (1 = open)
        **({} if task is None else {"task": task, "seed": seed}),
    }
    png = images.encode_png(image)
    goal = _goal(path, image, meaning)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_both(path, png, yaml.safe_dump(meaning, sort_keys=False).encode())
    return goal


def check_name(name: str) -> None:
    """ValueError where a goal may not be called `name`: it becomes a file's name in the user's folder."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None:
        raise ValueError(
            f"a goal's name is made of letters (a to z), digits, - and _, got {name!r}; its folder is given with --out DIR"
        )


def require_picture(image: np.ndarray, what: str) -> None:
    """ValueError where the image `what` shows nothing that an arm could be driven to."""
    if (even := images.why_no_picture(image)) is not None:
        raise ValueError(f"{what} shows no goal: {even}")


def check_camera(goal: Goal, camera: str) -> None:
    """ValueError with the remedy where a goal was taken by another camera than the one that the policy will see through."""
    if goal.camera != camera:
        raise ValueError(
            f"the goal {goal.path} was taken by the camera {goal.camera!r}, the robot's is {camera!r}; the policy would compare two views: "
            "take it again (mqe goal capture)"
        )


def find_goal(name: str, folders: Sequence[Path]) -> Path:
    """A path as it is, else the first folder's file of that name (with or without .png).

    FileNotFoundError says where it looked.
    """
    if Path(name).expanduser().is_file():
        return Path(name).expanduser().resolve()
    file = name if name.endswith(".png") else f"{name}.png"
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    places = ", ".join(map(str, folders))
    known = sorted({path.name for folder in folders if folder.is_dir() for path in folder.glob("*.png")})
    raise FileNotFoundError(
        f"no goal {name!r}: not a file, and not in {places}; known goals: {', '.join(known) or 'none'}"
    )


def _goal(path: Path, image: np.ndarray, meaning: object) -> Goal:
    """The goal of this image and what its YAML holds; ValueError where one of them is wrong."""
    file = path.with_suffix(".yaml")
    if not isinstance(meaning, dict):
        raise ValueError(f"{file}: expected a mapping of keys, got {type(meaning).__name__}")
    needed = _REQUIRED + (_SIM if meaning.get("domain") == "sim" else ())
    missing, unknown = [key for key in needed if key not in meaning], [str(key) for key in meaning if key not in needed]
    if missing or unknown:
        domain = f" of the domain {meaning['domain']}" if "domain" in meaning else ""
        wrong = [
            f"{what} {', '.join(keys)}" for what, keys in (("misses", missing), ("has the unknown", unknown)) if keys
        ]
        raise ValueError(f"{file}: a goal{domain} has the keys {', '.join(needed)}; this one {' and '.join(wrong)}")

    def require(ok: bool, key: str, expected: str) -> None:
        if not ok:
            raise ValueError(f"{file}: {key}: expected {expected}, got {meaning[key]!r}")

    require(meaning["domain"] in ("sim", "real"), "domain", "sim or real")
    require(meaning["resize_rule"] == images.RESIZE_RULE, "resize_rule", images.RESIZE_RULE)
    require(isinstance(meaning["camera"], str) and meaning["camera"] != "", "camera", "a camera's name")
    pose = meaning["capture_pose"]
    require(
        isinstance(pose, list) and len(pose) == 7 and all(_is_finite(v) for v in pose),
        "capture_pose",
        "7 numbers",
    )
    if meaning["domain"] == "sim":
        require(isinstance(meaning["task"], str) and meaning["task"] != "", "task", "a task's name")
        require(type(meaning["seed"]) is int and meaning["seed"] >= 0, "seed", "a whole number from 0")
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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
