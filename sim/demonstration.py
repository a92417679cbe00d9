"""One scripted demonstration in one scene: what the arm was told, what was seen of it, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mqe_core.policy.bundle import PolicyBundle
from mqe_core.robot.arrays import Floats, Images
from mqe_core.robot.geometry import apply_action, make_pose, pose_to_state
from mqe_core.robot.kinematics import forward_kinematics, inverse_kinematics
from mqe_sim.camera import FRAME_HEIGHT, FRAME_WIDTH
from mqe_sim.oracles import make_oracle
from mqe_sim.scene import solve_scene
from mqe_sim.takeover import Driver
from mqe_sim.tasks import STAGES, Task, make_task
from mqe_sim.world import World

STILL_STEPS = 4  # recorded after the retreat: what to do at the goal is to stay
# Each kind of random number has a stream of its own, and so has each attempt at an episode.
_ORACLE_STREAM, _DELAY_STREAM, _MISS_STREAM, _TAKEOVER_STREAM = 1, 2, 3, 4
_STREAMS_PER_ATTEMPT = 10
_LONGEST_DELAY_S = 0.08  # a command reaches the motors at most so long after its image, as over ROS; drawn per step
# The arm misses its targets by an offset that wanders (7 mm per axis), as play in the joints and sagging make a real
# one do: the hand is seen off its way at every point of it, and the actions show the way back.
_MISS_STEP_M, _MISS_MEMORY = 0.004, 0.8


class UnreachableError(RuntimeError):
    """The arm was sent where it cannot go."""


@dataclass(frozen=True)
class Outcome:
    """What came of an episode. `stages_before` and `stages_after` say of each part of the task whether it was done
    where the record begins and where it ends. `event` is the oracle's, or "takeover" after a policy.
    """

    score: float
    max_score: float
    event: str | None
    stages_before: tuple[bool, ...]
    stages_after: tuple[bool, ...]

    @property
    def shows_one_stage(self) -> bool:
        """Whether start and end differ by one stage, and what was wanted is done."""
        changed = sum(before != after for before, after in zip(self.stages_before, self.stages_after))
        return changed == 1 and self.score == self.max_score


@dataclass(frozen=True, eq=False)
class Demonstration:
    """The record of one episode of T frames.

    Attributes:
        images: T of (H, W, 3) uint8 RGB; none where no size was given.
        full_state, desired_state: (T, 7) Bridge states, measured and commanded.
        qpos: (T, 6) rad, measured.
        time_stamp: (T,) simulated seconds.
        things: (T, n) m, where the task's things are (`Task.things_m`). No policy on the robot can see it.
        actions: (T − 1, 7) Bridge actions.
        stage_actions: (T − 1, stages, 7) what the script would have done for each stage alone, without noise; NaN for
            stages that were not open.
        language: the task in words.
    """

    images: list[Images]
    full_state: Floats
    desired_state: Floats
    qpos: Floats
    time_stamp: Floats
    things: Floats
    actions: Floats
    stage_actions: Floats
    language: str
    outcome: Outcome


def run_oracle(
    world: World,
    task_name: str,
    seed: int,
    size: tuple[int, int] | None = (FRAME_WIDTH, FRAME_HEIGHT),
    *,
    stage: int | None = None,
    done: Sequence[int] | None = None,
    attempt: int = 0,
    randomise: Sequence[str] = (),
    policy: PolicyBundle | None = None,
) -> Demonstration:
    """One demonstration in scene `seed`, from the oracle's `record_from` on.

    Args:
        world: is reset.
        size: (width, height) of the images in pixels; None for a record without images.
        stage: from 0; this stage alone is left to do.
        done: with `stage`, the stages that are done already; by default those before it.
        attempt: another number draws other noise.
        randomise: what else differs between scenes; see mqe_sim.variation.
        policy: drives first, towards the goal of the whole task. The record begins where the oracle takes over.

    Raises:
        UnreachableError: noise and miss together asked for a pose that the arm cannot reach.
        ValueError: a policy was given and no size.
    """
    oracle_rng, delay_rng, miss_rng, takeover_rng = (
        np.random.default_rng([seed, stream + _STREAMS_PER_ATTEMPT * attempt, stage or 0])
        for stream in (_ORACLE_STREAM, _DELAY_STREAM, _MISS_STREAM, _TAKEOVER_STREAM)
    )
    driver = None
    if policy is not None:
        if size is None:
            raise ValueError("a policy drives by images: give their size")
        # Stages of a chain are steps to one goal. Where a task has one stage only, naming it may draw another scene
        # (the cube in the drawer).
        shown = stage if STAGES[task_name] == 1 else None
        goal, _ = solve_scene(world, task_name, seed, *size, stage=shown, randomise=randomise)
        driver = Driver(policy, goal, takeover_rng)
    task = make_task(task_name, world, seed, stage=stage, randomise=randomise, done=done)
    oracle = make_oracle(task, oracle_rng, events=driver is None)
    record_from = oracle.record_from if driver is None else driver.steps
    arm = _ImpreciseArm(world, task.start_joints, delay_rng, miss_rng)
    # The image before the record begins is needed too: it is what a late camera shows next.
    frames = _Frames(task, size, images_from=record_from - 1 if driver is None else 0)
    target, gripper = forward_kinematics(world.spec, task.start_joints), 1.0
    start_s, period_s = world.time_s, world.spec.control.period_s
    actions: list[Floats] = []
    stage_actions: list[Floats] = []

    pose = frames.add(target, gripper)
    stages_before, still = task.stages(), 0
    while still < STILL_STEPS and len(actions) < record_from + task.max_steps:
        recording = len(actions) >= record_from
        still = still + oracle.done if recording else 0
        driving = None if recording else driver
        if recording:
            stage_actions.append(oracle.stage_actions(target, pose))
        action = oracle.act(target, pose) if driving is None else driving.act(frames.newest_image)
        wanted = apply_action(target, action, pose)
        if arm.aim(wanted):
            target = wanted
        elif driving is None:
            raise UnreachableError(
                f"scene {seed}: oracle and miss together asked for an unreachable pose at "
                f"{np.round(arm.asked_m, 3).tolist()}"
            )
        gripper = float(action[6])
        arm.send(gripper)
        world.advance_to(start_s + (len(actions) + 1) * period_s)
        actions.append(action)
        pose = frames.add(target, gripper)
        if len(actions) == record_from:
            stages_before = task.stages()
    task.settle()
    event = oracle.event if driver is None else "takeover"
    outcome = Outcome(task.score(), task.max_score, event, stages_before, task.stages())
    return frames.demonstration(record_from, actions, stage_actions, task.language, outcome)


class _ImpreciseArm:
    """The scene's arm as a real one is: it misses its targets, and commands reach it late."""

    def __init__(
        self, world: World, joints: Floats, delay_rng: np.random.Generator, miss_rng: np.random.Generator
    ) -> None:
        self._world, self._delay_rng, self._miss_rng = world, delay_rng, miss_rng
        self._joints = joints
        self._miss_m: Floats = np.zeros(3)
        self.asked_m: Floats = np.zeros(3)  # the position that the last `aim` asked for

    def aim(self, target: Floats) -> bool:
        """Take `target` (4, 4) as the next pose, and miss it. False, and nothing changes, where it is out of reach."""
        self._miss_m = _MISS_MEMORY * self._miss_m + self._miss_rng.normal(0.0, _MISS_STEP_M, 3)
        self.asked_m = target[:3, 3] + self._miss_m
        joints = inverse_kinematics(self._world.spec, make_pose(target[:3, :3], self.asked_m), self._joints)
        if joints is None:
            return False
        self._joints = joints
        return True

    def send(self, gripper: float) -> None:
        """Command the pose aimed at and the gripper (1 = open), after a delay in which the world goes on."""
        self._world.advance_to(self._world.time_s + self._delay_rng.uniform(0.0, _LONGEST_DELAY_S))
        self._world.command(self._joints, gripper)


class _Frames:
    """What was told to the arm and seen of it, frame by frame; images from frame `images_from` on."""

    def __init__(self, task: Task, size: tuple[int, int] | None, images_from: int) -> None:
        self._task, self._world, self._size, self._images_from = task, task.world, size, images_from
        self._start_s = self._world.time_s
        self._images: list[Images | None] = []  # empty where no size was given
        self._qpos: list[Floats] = []
        self._full_state: list[Floats] = []
        self._desired_state: list[Floats] = []
        self._time_stamp: list[float] = []
        self._things: list[Floats] = []

    def add(self, target: Floats, gripper: float) -> Floats:
        """The frame of this moment, with the commanded pose (4, 4) and gripper; returns the measured pose (4, 4)."""
        arm = self._world.arm
        measured = arm.joints()
        pose = forward_kinematics(self._world.spec, measured)
        if self._size is not None:
            wanted = len(self._qpos) >= self._images_from
            self._images.append(self._world.look(*self._size)[1] if wanted else None)
        self._qpos.append(measured)
        self._full_state.append(pose_to_state(pose, arm.gripper()))
        self._desired_state.append(pose_to_state(target, gripper))
        self._time_stamp.append(self._world.time_s - self._start_s)
        self._things.append(self._task.things_m())
        return pose

    @property
    def newest_image(self) -> Images:
        """(H, W, 3) uint8 RGB."""
        image = self._images[-1]
        assert image is not None
        return image

    def demonstration(
        self, first: int, actions: list[Floats], stage_actions: list[Floats], language: str, outcome: Outcome
    ) -> Demonstration:
        """The record from frame `first` on, where `stage_actions` begin."""
        return Demonstration(
            images=[image for image in self._images[first:] if image is not None],
            full_state=np.array(self._full_state[first:]),
            desired_state=np.array(self._desired_state[first:]),
            qpos=np.array(self._qpos[first:]),
            time_stamp=np.array(self._time_stamp[first:]),
            things=np.array(self._things[first:]),
            actions=np.array(actions[first:]),
            stage_actions=np.array(stage_actions),
            language=language,
            outcome=outcome,
        )
