"""make_scene: a task set up with its robot, camera, clock, goal image and score.

A scene runs faster than real time, or in a server's process against the wall clock.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.geometry import pose_to_state
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import RobotSpec
from mqe_core.runtime.robot import MonotonicClock
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.robot import BulletCamera, BulletRobot
from mqe_sim.tasks import STAGES, check_scene, check_stage, make_task
from mqe_sim.world import World


class SimClock:
    """Simulated seconds: sleeping steps the physics."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.time_s

    def sleep_until(self, t: float) -> None:
        self._world.advance_to(t)


def render_goal(
    spec: RobotSpec, task: str, seed: int, width: int = FRAME_WIDTH, height: int = FRAME_HEIGHT, renderer: str = "tiny"
) -> Images:
    """(height, width, 3) uint8 RGB of the scene of `seed`, solved, in a world of its own."""
    return _solved(World(spec, renderer), task, seed, width, height)[0]


def solve_scene(
    world: World,
    task: str,
    seed: int,
    width: int,
    height: int,
    *,
    stage: int | None = None,
    randomise: Sequence[str] = (),
) -> tuple[Images, Floats]:
    """Set a scene up in `world`, solved.

    Returns its image, (height, width, 3) uint8 RGB, and its state: the Bridge state (7,) followed by where the things
    are, m.
    """
    scene = make_task(task, world, seed, stage=stage, randomise=randomise)
    scene.solve()
    pose = forward_kinematics(world.spec, world.arm.joints())
    return world.render(width, height), np.concatenate([pose_to_state(pose, world.arm.gripper()), scene.things_m()])


def _solved(
    world: World, task: str, seed: int, width: int, height: int, randomise: Sequence[str] = ()
) -> tuple[Images, Floats]:
    """`solve_scene`, then close the world."""
    try:
        return solve_scene(world, task, seed, width, height, randomise=randomise)
    finally:
        world.close()


class SimScene:
    """A scene in this process, deterministic by seed. Its clock is the simulation's own.

    With `stage`, from 0, this stage alone is left to do; the goal is the whole task's. `tabletop` is what stands in the
    world, and `goal_state` says in numbers what `goal` shows. No policy on the robot can see either.
    """

    def __init__(
        self, spec: RobotSpec, task: str, seed: int, randomise: Sequence[str] = (), stage: int | None = None
    ) -> None:
        self.goal, self.goal_state = _solved(World(spec), task, seed, FRAME_WIDTH, FRAME_HEIGHT, randomise)
        self._world = World(spec)
        self.tabletop = make_task(task, self._world, seed, stage=stage, randomise=randomise)
        self.task, self.max_steps, self.max_score = task, self.tabletop.max_steps, self.tabletop.max_score
        self.clock = SimClock(self._world)
        self.robot = BulletRobot(spec, clock=self.clock, world=self._world)
        self.camera = BulletCamera(spec, clock=self.clock, world=self._world)

    def render(self, width: int, height: int) -> Images:
        """(height, width, 3) uint8 RGB: the view now, at any size."""
        return self._world.render(width, height)

    def score(self) -> float:
        """Score once everything has come to rest."""
        self.tabletop.settle()
        return self.tabletop.score()

    def close(self) -> None:
        """End the simulation."""
        self._world.close()


class RealtimeScene:
    """A scene in a server process of its own, against the wall clock."""

    def __init__(self, spec: RobotSpec, task: str, seed: int) -> None:
        from mqe_sim.client import Client

        self._folder = tempfile.TemporaryDirectory(prefix="mqe-sim-")
        address = f"ipc://{Path(self._folder.name) / 'world'}"
        command = [sys.executable, "-m", "mqe_sim.server", "--address", address, "--task", task, "--seed", str(seed)]
        self._process = subprocess.Popen([*command, "--robot", spec.source, "--end-with-parent"])
        try:
            self._client = Client(address)
            info = self._client.info()
            self.goal = self._client.goal()
            self.task, self.max_steps, self.max_score = task, info["max_steps"], info["max_score"]
            self.clock = MonotonicClock()
            self.robot = BulletRobot(spec, clock=self.clock, address=address)
            self.camera = BulletCamera(spec, clock=self.clock, address=address)
        except BaseException:
            self._stop()
            raise

    def score(self) -> float:
        """Score once everything has come to rest."""
        return self._client.score()

    def close(self) -> None:
        """End the server."""
        self.robot.close()
        self.camera.close()
        self._client.close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def make_scene(
    spec: RobotSpec,
    task: str,
    seed: int,
    *,
    realtime: bool = False,
    randomise: Sequence[str] = (),
    stage: int | None = None,
) -> SimScene | RealtimeScene:
    """Scene `seed` of `task`: a RealtimeScene with `realtime`, else a SimScene.

    `randomise` names what else is drawn from the seed, see mqe_sim.variation; `stage` is the one that is left to do,
    from 0. A scene in real time has neither. Raises ValueError for an unknown task, stage or randomisation, and for a
    negative seed.
    """
    check_scene(task, seed)
    if stage is not None and STAGES[task] == 1:
        raise ValueError(f"{task} is a single stage: name none")
    if stage is not None:
        check_stage(task, stage)
    if realtime and (randomise or stage is not None):
        raise ValueError("a scene in real time cannot be randomised, and begins with the first stage")
    return RealtimeScene(spec, task, seed) if realtime else SimScene(spec, task, seed, randomise, stage)
