"""Every task as a Gymnasium environment: `import mqe_sim.gym_env`, then `gymnasium.make("mqe/WidowX-place1-v0")`.

A step is one Bridge action at 5 Hz, sent through the same safety filter as on the robot; `info` says what the filter
clipped or refused. Importing this module registers the environments: Gymnasium has had no other way since version 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mqe_core.images import squash_resize
from mqe_core.robot.arrays import AnyArray, Floats, Images
from mqe_core.robot.geometry import apply_action, pose_to_state
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED
from mqe_sim.scene import SimScene
from mqe_sim.tasks import TASKS
from mqe_sim.variation import check_names

OBSERVATIONS = ("pixels", "state")
_SCENES = FIRST_EVALUATION_SEED  # `reset` draws below it: held-out scenes only on request

Observation = dict[str, Any]  # of arrays


@dataclass
class _Episode:
    """A scene that is being played. `score` is that of the last step."""

    scene: SimScene
    robot: SafeRobot
    goal: AnyArray
    started_s: float
    score: float
    steps: int = 0


class WidowXEnv(gymnasium.Env[Observation, AnyArray]):
    """One task. Goal-conditioned: the observation is a dict of `observation` and `goal`.

    pixels: (image_size, image_size, 3) uint8 RGB each, by the policy's own resize path. state: float64 vectors, the
        Bridge state (7,) followed by where the task's things are (m), now and in the solved scene. No policy on the
        robot can see where the things are.

    The action is Bridge's (7,): metres and radians per step within the spec's limits, and the gripper (1 = open). The
    reward is the gain in score since the last step. The score is judged at once; `mqe eval` judges it after everything
    has come to rest. The episode terminates at the task's full score and is truncated after its `max_steps`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self,
        task: str,
        observation: str = "pixels",
        image_size: int = 64,
        robot: str = "widowx250s",
        randomise: tuple[str, ...] = (),
        render_mode: str | None = None,
    ) -> None:
        """`randomise`: what else differs between scenes, see mqe_sim.variation.

        Raises ValueError for an unknown task, observation or randomisation.
        """
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; known: {', '.join(sorted(TASKS))}")
        if observation not in OBSERVATIONS:
            raise ValueError(f"observation must be one of {', '.join(OBSERVATIONS)}, got {observation!r}")
        self.render_mode = render_mode
        self._task_name, self._kind, self._image_size = task, observation, image_size
        self._randomise = check_names(randomise)
        self._spec = load_robot_spec(robot)
        control = self._spec.control
        limit = np.array([control.max_translation_step_m] * 3 + [control.max_rotation_step_rad] * 3)
        self.action_space = spaces.Box(np.array([*-limit, 0.0], np.float32), np.array([*limit, 1.0], np.float32))
        self._episode: _Episode | None = None
        space: spaces.Space[Any]
        if observation == "pixels":
            space = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        else:
            shape = self._state(self._open(0)).shape
            space = spaces.Box(-10.0, 10.0, shape, np.float64)
            self.close()
        self.observation_space = spaces.Dict({"observation": space, "goal": space})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new scene: `options={"scene": n}` for one by number, else drawn from the environment's random numbers."""
        super().reset(seed=seed)
        chosen = (options or {}).get("scene")
        episode = self._open(int(self.np_random.integers(_SCENES)) if chosen is None else int(chosen))
        return self._observe(episode), self._info(episode)

    def step(self, action: AnyArray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control period."""
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        episode = self._episode
        clock, state = episode.scene.clock, episode.robot.observe()
        episode.steps += 1
        command = Command(
            pose=apply_action(state.target_pose, np.asarray(action, dtype=np.float64), state.pose),
            gripper=float(action[6]),
            stamp=clock.now(),
            session="gymnasium",
            sequence=episode.steps,
            frame_id=self._spec.base_frame,
        )
        sent = episode.robot.send(command)
        clock.sleep_until(episode.started_s + episode.steps * self._spec.control.period_s)
        before, episode.score = episode.score, episode.scene.tabletop.score()
        done = episode.score == episode.scene.max_score
        out_of_time = episode.steps >= episode.scene.max_steps
        info = {**self._info(episode), "clipped": sent.clipped, "refused": sent.refused}
        return self._observe(episode), episode.score - before, done, out_of_time, info

    def render(self) -> Images | None:
        """(H, W, 3) uint8 RGB, what the camera sees, at the sensor's size."""
        if self._episode is None or self.render_mode is None:
            return None
        return self._episode.scene.render(self._spec.camera.width_px, self._spec.camera.height_px)

    def close(self) -> None:
        """End the simulation."""
        if self._episode is not None:
            self._episode.scene.close()
            self._episode = None

    def _open(self, seed: int) -> _Episode:
        self.close()
        scene = SimScene(self._spec, self._task_name, seed, self._randomise)
        robot = SafeRobot(scene.robot, self._spec, scene.clock)
        goal = squash_resize(scene.goal, self._image_size) if self._kind == "pixels" else scene.goal_state
        self._episode = _Episode(scene, robot, goal, scene.clock.now(), scene.tabletop.score())
        return self._episode

    def _observe(self, episode: _Episode) -> Observation:
        now = self._picture(episode) if self._kind == "pixels" else self._state(episode)
        return {"observation": now, "goal": episode.goal.copy()}

    def _picture(self, episode: _Episode) -> Images:
        frame = episode.scene.camera.read()
        assert frame is not None  # a world in this process always has a view
        return squash_resize(frame.image, self._image_size)

    def _state(self, episode: _Episode) -> Floats:
        robot = episode.scene.robot.observe()
        return np.concatenate([pose_to_state(robot.pose, robot.gripper), episode.scene.tabletop.things_m()])

    def _info(self, episode: _Episode) -> dict[str, Any]:
        return {
            "scene": episode.scene.tabletop.seed,
            "score": episode.score,
            "is_success": episode.score == episode.scene.max_score,
        }


for _name in TASKS:
    gymnasium.register(f"mqe/WidowX-{_name}-v0", entry_point="mqe_sim.gym_env:WidowXEnv", kwargs={"task": _name})
