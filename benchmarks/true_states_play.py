"""One held-out scene, played by a method that sees true places, for benchmarks/closed_loop_states.py.

As by `mqe eval`: behind the safety filter, the bundle's gripper rule, and the score once everything rests. Played are
all of the task's steps, or until what is asked for has been done for 15 of them. Only a film's frames are rendered.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from benchmarks.true_states import seen
from benchmarks.true_states_methods import Answer
from mqe_core.learning.export.reach_calibration import roc_area
from mqe_core.policy.contract import NONE_CHOSEN
from mqe_core.robot.arrays import Float32s, Floats, Images, Ints
from mqe_core.robot.geometry import apply_action, pose_to_state
from mqe_core.robot.kinematics import forward_kinematics
from mqe_core.robot.spec import load_robot_spec
from mqe_core.runtime.policy_side import StickyGripper
from mqe_core.runtime.robot import Command
from mqe_core.runtime.safety.safe_robot import SafeRobot
from mqe_sim.oracles import make_oracle
from mqe_sim.robot import BulletRobot
from mqe_sim.scene import SimClock
from mqe_sim.tasks import STAGES, Task, make_task
from mqe_sim.tasks.place import PlaceTask
from mqe_sim.world import World

_OPEN = 0.5  # the bundle's threshold of the gripper
MEANS = ("chosen_mm", "best_mm", "mean_mm", "preferred_mm", "right")
DONE_STEPS = 15
_MOVED_M = 0.03
_FILM_STEPS, _FILM_SIZE = 7, (160, 120)


class Chooses(Protocol):
    """Who is asked at every step."""

    def act(self, state: Float32s, goal: Float32s, last: int, script: Floats, rng: np.random.Generator) -> Answer:
        """For states (S,) as they are seen; `last` is the candidate chosen before, -1 in a new scene, `script` (7,)
        the script's action.
        """


@dataclass
class Played:
    """What came of a scene: score, how many things were moved that the goal shows where they were, when each stage was
    first done (-1: never), and at every step until all are done:

    chosen_mm, best_mm, mean_mm  how far the action, the best candidate and the candidates on average are from what the
        script would do now for the open stage that is nearest to each
    preferred_mm, right      the same of the candidate that the critic prefers, and the probability that it finds the
        goal nearer from one of the best quarter of the candidates than from one of the worst
    index, steps_to_goal  which candidate, and how far the critic says the goal is
    """

    score: float = 0.0
    strayed: int = 0
    first_done: list[int] = field(default_factory=list)
    chosen_mm: list[float] = field(default_factory=list)
    best_mm: list[float] = field(default_factory=list)
    mean_mm: list[float] = field(default_factory=list)
    preferred_mm: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    steps_to_goal: list[float] = field(default_factory=list)
    film: list[Images] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """For JSON: the curves as their means."""
        told = asdict(self)
        del told["film"], told["steps_to_goal"]
        for name in MEANS:
            told[name] = float(np.mean(told[name])) if told[name] else None
        changes = np.diff(told.pop("index")) != 0
        return told | {"changes": float(changes.mean()) if len(changes) else 0.0}


@dataclass(frozen=True)
class Asked:
    """What is asked for of a scene: all; with `stage`, from 1, that one alone, which is left to do; or with `wanted` so
    many of its objects, drawn by the scene's seed, while the others are to stay where they are.
    """

    stage: int | None = None
    wanted: int | None = None

    def of(self, task_name: str, world: World, seed: int) -> Task:
        """The scene set up."""
        task = make_task(task_name, world, seed, stage=None if self.stage is None else self.stage - 1)
        if self.wanted is not None:
            assert isinstance(task, PlaceTask), "only objects can be asked for one by one"
            drawn = np.random.default_rng([seed, self.wanted]).permutation(len(task.objects))
            task.wanted = sorted(int(number) for number in drawn[: self.wanted])
        return task


class Driven:
    """A held-out scene and its arm behind the safety filter.

    `goal` (S,) is the state that shows what is asked for, `now` (S,) the present one, `arm` what the arm measures.
    """

    def __init__(self, task_name: str, seed: int, asked: Asked = Asked()) -> None:
        self.world = _world()
        # With one stage left to do the goal is that of the whole scene.
        shown = Asked(wanted=asked.wanted).of(task_name, self.world, seed)
        shown.solve()
        pose = forward_kinematics(self.world.spec, self.world.arm.joints())
        self.goal = np.concatenate([pose_to_state(pose, self.world.arm.gripper()), shown.things_m()])
        self.task = asked.of(task_name, self.world, seed)
        self._clock, self._gripper = SimClock(self.world), StickyGripper(_OPEN, 1)
        self._robot = SafeRobot(
            BulletRobot(self.world.spec, clock=self._clock, world=self.world), self.world.spec, self._clock
        )
        self._begun, self._steps = self._clock.now(), 0
        self._observe()

    def _observe(self) -> None:
        self.arm = self._robot.observe()
        self.now = np.concatenate([pose_to_state(self.arm.pose, self.arm.gripper), self.task.things_m()])

    def send(self, action: Floats) -> None:
        """One control step with the action (7,), physical units."""
        self._steps += 1
        self._robot.send(
            Command(
                pose=apply_action(self.arm.target_pose, action, self.arm.pose),
                gripper=self._gripper(float(action[6])),
                stamp=self._clock.now(),
                session="evaluation",
                sequence=self._steps,
                frame_id=self.world.spec.base_frame,
            )
        )
        self._clock.sleep_until(self._begun + self._steps * self.world.spec.control.period_s)
        self._observe()


def play(chooser: Chooses, task_name: str, seed: int, asked: Asked = Asked(), film: bool = False) -> Played:
    """Scene `seed` to its last step."""
    scene, rng = Driven(task_name, seed, asked), np.random.default_rng(seed)
    task, script = scene.task, make_oracle(scene.task, rng, noise=0.0)
    found, last, done_steps = Played(first_done=[-1] * STAGES[task_name]), NONE_CHOSEN, 0
    wanted = getattr(task, "wanted", range(STAGES[task_name]))
    others, begin = np.setdiff1d(range(STAGES[task_name]), wanted), task.things_m()
    for step in range(task.max_steps):
        ways = script.stage_actions(scene.arm.target_pose, scene.arm.pose)
        ways[others] = np.nan
        still_open = np.isfinite(ways).all(axis=1)
        habit = ways[np.flatnonzero(still_open)[0]] if still_open.any() else np.array([*np.zeros(6), 1.0])
        answer = chooser.act(seen(scene.now), seen(scene.goal), last, habit, rng)
        last = answer.chosen
        if still_open.any():
            errors = off(answer.candidates, ways[still_open])
            found.chosen_mm.append(float(errors[last]))
            found.best_mm.append(float(errors.min()))
            found.mean_mm.append(float(errors.mean()))
            found.index.append(last)
            if np.isfinite(answer.distances).all():
                found.preferred_mm.append(float(errors[answer.distances.argmin()]))
                if len(errors) >= 4:  # else there are no quarters
                    found.right.append(right(answer.distances, errors))
        found.steps_to_goal.append(answer.steps_to_goal)
        if film and step % _FILM_STEPS == 0:
            found.film.append(scene.world.render(*_FILM_SIZE))
        scene.send(answer.action)
        stages = task.stages()
        done_steps = done_steps + 1 if all(stages[number] for number in wanted) else 0
        for number, done in enumerate(stages):
            if done and found.first_done[number] < 0:
                found.first_done[number] = step + 1
        if done_steps == DONE_STEPS:
            break
    task.settle()
    found.score = float(task.score())
    if asked.wanted is not None:
        found.strayed = moved(begin, task.things_m(), others)
    return found


def moved(begin: Floats, end: Floats, which: Ints) -> int:
    """How many of the things of these numbers lie elsewhere at the end; places (3 n,) in m."""
    apart = np.linalg.norm((end - begin).reshape(-1, 3)[which], axis=1)
    return int((apart > _MOVED_M).sum())


def off(candidates: Floats, ways: Floats) -> Floats:
    """(N,): mm between the motion of each candidate (N, 7) and the nearest of `ways` (n, 7)."""
    apart = np.linalg.norm(candidates[:, None, :3] - ways[None, :, :3], axis=2)
    return 1000.0 * apart.min(axis=1)


def right(distances: Floats, errors: Floats) -> float:
    """The area under the ROC curve of distances (N,) between the quarters of least and of largest errors (N,)."""
    order, quarter = np.argsort(errors, kind="stable"), len(errors) // 4
    return roc_area(distances[order[:quarter]], distances[order[-quarter:]])


def sheet(film: list[Images], columns: int = 7) -> Image.Image:
    """The frames in rows."""
    width, height = _FILM_SIZE
    rows = -(-len(film) // columns)
    page = Image.new("RGB", (columns * width, rows * height))
    for number, frame in enumerate(film):
        page.paste(Image.fromarray(frame), (number % columns * width, number // columns * height))
    return page


@functools.cache
def _world() -> World:
    """One for all scenes: a reset forgets what was."""
    return World(load_robot_spec())
