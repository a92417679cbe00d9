"""Every task as a Gymnasium environment: `import mqe_sim.gym_env`, then `gymnasium.make("mqe/WidowX-place1-v0")`.

A step is one Bridge action at 5 Hz, sent through the same safety filter as on the robot; `info` says what the filter clipped or refused.
Importing this module registers them: Gymnasium has had no other way since its version 1.0.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mqe_core.geometry import apply_action, pose_to_state
from mqe_core.images import squash_resize
from mqe_core.runtime.robot import FIRST_EVALUATION_SEED, Command
from mqe_core.runtime.safe_robot import SafeRobot
from mqe_core.spec import load_robot_spec
from mqe_sim.scene import SimScene
from mqe_sim.tasks import TASKS
from mqe_sim.variation import check_names

OBSERVATIONS = ("pixels", "state")
_SCENES = FIRST_EVALUATION_SEED  # `reset` draws below it: held-out scenes only on request


class WidowXEnv(gymnasium.Env):
    """One task. Goal-conditioned: the observation is a dict of `observation` and `goal`.

    pixels: (image_size, image_size, 3) uint8 RGB each, by the policy's own resize path. state: float64 vectors, the Bridge state (7,) followed
    by where the task's things are (m), now and in the solved scene; no policy on the robot can see the latter part.

    The action is Bridge's (7,): metres and radians per step within the spec's limits, and the gripper (1 = open). The reward is the gain in score
    since the last step, judged at once and not, as `mqe eval` does, after everything has come to rest. The episode terminates at the task's full
    score and is truncated after its `max_steps`.
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
        """`randomise`: what else differs between scenes, see mqe_sim.variation. ValueError for an unknown task, observation or name."""
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
        self._scene: SimScene | None = None
        if observation == "pixels":
            space = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        else:
            self._open(0)
            space = spaces.Box(-10.0, 10.0, self._state().shape, np.float64)
            self.close()
        self.observation_space = spaces.Dict({"observation": space, "goal": space})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A new scene: `options={"scene": n}` for one by number, else drawn from the environment's random numbers."""
        super().reset(seed=seed)
        chosen = (options or {}).get("scene")
        self._open(int(self.np_random.integers(_SCENES)) if chosen is None else int(chosen))
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control period."""
        if self._scene is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        clock, state = self._scene.clock, self._robot.observe()
        self._sequence += 1
        command = Command(
            pose=apply_action(state.target_pose, np.asarray(action, dtype=np.float64), state.pose),
            gripper=float(action[6]),
            stamp=clock.now(),
            session="gymnasium",
            sequence=self._sequence,
            frame_id=self._spec.base_frame,
        )
        sent = self._robot.send(command)
        clock.sleep_until(self._started_s + self._sequence * self._spec.control.period_s)
        before, self._score = self._score, self._scene.tabletop.score()
        done = self._score == self._scene.max_score
        out_of_time = self._sequence >= self._scene.max_steps
        return (
            self._observe(),
            self._score - before,
            done,
            out_of_time,
            {**self._info(), "clipped": sent.clipped, "refused": sent.refused},
        )

    def render(self) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, what the camera sees, at the sensor's size."""
        if self._scene is None or self.render_mode is None:
            return None
        return self._scene.render(self._spec.camera.width_px, self._spec.camera.height_px)

    def close(self) -> None:
        """End the simulation."""
        if self._scene is not None:
            self._scene.close()
            self._scene = None

    def _open(self, scene: int) -> None:
        self.close()
        self._scene = SimScene(self._spec, self._task_name, scene, self._randomise)
        self._robot = SafeRobot(self._scene.robot, self._spec, self._scene.clock)
        self._started_s, self._sequence = self._scene.clock.now(), 0
        self._score = self._scene.tabletop.score()
        self._goal = (
            squash_resize(self._scene.goal, self._image_size) if self._kind == "pixels" else self._scene.goal_state
        )

    def _observe(self) -> dict[str, np.ndarray]:
        if self._kind == "pixels":
            now = squash_resize(self._scene.camera.read().image, self._image_size)
        else:
            now = self._state()
        return {"observation": now, "goal": self._goal.copy()}

    def _state(self) -> np.ndarray:
        robot = self._scene.robot.observe()
        return np.concatenate([pose_to_state(robot.pose, robot.gripper), self._scene.tabletop.things_m()])

    def _info(self) -> dict[str, Any]:
        return {
            "scene": self._scene.tabletop.seed,
            "score": self._score,
            "is_success": self._score == self._scene.max_score,
        }


for _name in TASKS:
    gymnasium.register(f"mqe/WidowX-{_name}-v0", entry_point=WidowXEnv, kwargs={"task": _name})
