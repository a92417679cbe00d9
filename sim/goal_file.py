"""Goal files of simulated scenes: a PNG, and a YAML that says what it shows and how to set the same scene up again."""

from __future__ import annotations

from pathlib import Path

import yaml

from mqe_core.images import RESIZE_RULE, encode_png
from mqe_core.spec import load_robot_spec
from mqe_sim.scene import render_goal
from mqe_sim.tasks.home import HOME_STATE


def write_goal(robot: str, task: str, seed: int, path: Path, renderer: str = "tiny") -> None:
    """Render scene `seed` of `task` solved, into `path` (.png) and the .yaml beside it."""
    if path.suffix != ".png":
        raise ValueError(f"{path}: a goal image is a .png")
    spec = load_robot_spec(robot)
    path.write_bytes(encode_png(render_goal(spec, task, seed, renderer=renderer)))
    meaning = {
        "camera": spec.camera.name,
        "resize_rule": RESIZE_RULE,
        "domain": "sim",
        "capture_pose": [*HOME_STATE.tolist(), 1.0],  # Bridge state: x, y, z in m, roll, pitch, yaw in rad, gripper (1 = open)
        "task": task,
        "seed": seed,
    }
    path.with_suffix(".yaml").write_text(yaml.safe_dump(meaning, sort_keys=False), encoding="utf-8")
