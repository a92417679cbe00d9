"""Goal files of simulated scenes: a PNG, and a YAML that says what it shows and how to set the same scene up again."""

from __future__ import annotations

from pathlib import Path

from mqe_core.files.outputs import check_goal
from mqe_core.policy import goals
from mqe_core.policy.domain import SIM
from mqe_core.robot.spec import load_robot_spec
from mqe_sim.scene import render_goal
from mqe_sim.tasks.home import HOME_STATE


def write_goal(robot: str, task: str, seed: int, path: Path, renderer: str = "tiny") -> None:
    """Render scene `seed` of `task` solved, into `path` (.png) and the .yaml beside it, in place of a goal of the sim.

    ValueError where another file has one of the two names, or a real goal.
    """
    check_goal(path, domain=SIM, force=True)
    spec = load_robot_spec(robot)
    image = render_goal(spec, task, seed, renderer=renderer)
    goals.write_goal(
        path, image, camera=spec.camera.name, domain=SIM, capture_pose=[*HOME_STATE, 1.0], task=task, seed=seed
    )
